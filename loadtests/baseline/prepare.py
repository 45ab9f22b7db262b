"""Creates the baseline's database, with a license for each key, and trains its model.

The model is of the kind that our side serves, boosted trees or a logistic regression. scikit-learn trains it
on the same trades, calibrates it in the same way, and serves it.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psycopg
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sqlalchemy import create_engine, insert

from loadtests.baseline.tables import Base, License
from loadtests.bench import market
from loadtests.bench.market import SIDES, SYMBOLS
from shared.domain.trading.trades import Trade

DATABASE = "baseline"


def make_database(server_url: str, keys: Sequence[str]) -> str:
    """Creates the database with one active license a key; returns its URL for SQLAlchemy."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"drop database if exists {DATABASE} with (force)")
        connection.execute(f"create database {DATABASE}")
    url = server_url.rpartition("/")[0].replace("postgresql://", "postgresql+psycopg://") + f"/{DATABASE}"
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    rows = [
        {
            "key_hash": hashlib.sha256(key.encode()).hexdigest(),
            "account_id": f"account-{number}",
            "status": "active",
            "symbols": ",".join(SYMBOLS),
            "expires_at": datetime.now(UTC) + timedelta(days=30),
        }
        for number, key in enumerate(keys)
    ]
    with engine.begin() as connection_:
        connection_.execute(insert(License), rows)
    engine.dispose()
    return url


def _estimator(kind: str) -> Any:
    if kind == "boosted":
        trees = HistGradientBoostingClassifier(
            max_iter=80, learning_rate=0.05, max_depth=3, early_stopping=False, random_state=7
        )
        return CalibratedClassifierCV(trees, method="sigmoid", ensemble=False)
    columns = ColumnTransformer(
        [("side and symbol", OneHotEncoder(), [0, 1]), ("numbers", StandardScaler(), [2, 3])]
    )
    line = make_pipeline(columns, LogisticRegression(max_iter=1_000))
    return CalibratedClassifierCV(line, method="sigmoid", ensemble=False)


def train(trades: Sequence[Trade], kind: str, path: Path) -> None:
    """Writes the fitted model with its encodings to `path`."""
    sides = {side: number for number, side in enumerate(SIDES)}
    symbols = {symbol: number for number, symbol in enumerate(SYMBOLS)}
    rows = np.array(
        [
            [sides[trade.side], symbols[trade.symbol], trade.features["vwap_distance"], trade.features["rsi"]]
            for trade in trades
            if trade.features is not None
        ],
        dtype=float,
    )
    won = np.array([trade.net_pnl > 0 for trade in trades])
    model = {
        "version": f"baseline-{kind}",
        "sides": sides,
        "symbols": symbols,
        "estimator": _estimator(kind).fit(rows, won),
    }
    joblib.dump(model, path)


def expected(path: Path) -> list[float]:
    """Returns the right confidence of every state of loadtests.bench.market, in their order."""
    model = joblib.load(path)
    rows = [
        [model["sides"][side], model["symbols"][symbol], distance, rsi]
        for symbol, side, distance, rsi in map(market.state, range(market.STATES))
    ]
    return [round(float(value), 4) for value in model["estimator"].predict_proba(rows)[:, 1]]
