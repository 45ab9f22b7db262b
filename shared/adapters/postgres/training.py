"""Stores the outcomes of signals that models are trained on, and reads what trades tell about the others."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.rows import class_row, dict_row

from shared.adapters.postgres.database import Database
from shared.domain.confidence.models import Outcome
from shared.domain.confidence.safeguards import MAX_ACCOUNT_TO_OTHERS, Reported
from shared.domain.market.bars import BAR_INTERVAL
from shared.domain.market.outcomes import HORIZON, OutcomeBar, SettledSignal, SignalToSettle
from shared.domain.trading.signal_fit import FIT, SignalFit
from shared.sql import queries

# Of each symbol without a feed, this many of the newest signals are voted on.
MAX_REPORTED_SIGNALS = 200
# Of each signal, this many trades are looked at, mostly the first reported: far more than accounts follow
# one, and few enough that a flood of trades on many signals does not reach the time limit.
MAX_FOLLOWERS = 2_000
_SQL = queries("training")


def fit_parameters(fit: SignalFit) -> dict[str, object]:
    return {
        "fit_before": fit.before,
        "fit_after": fit.after,
        "fit_default": fit.default_expiry,
        "fit_share": fit.price_share,
        "fit_points": fit.price_points,
    }


def _decoded_bars(text: str) -> list[OutcomeBar]:
    return msgspec.json.decode(text, type=list[OutcomeBar])


class TrainingStore:
    """Every method takes the role of jobs, and raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def to_settle(
        self,
        strategy: str,
        *,
        before: datetime,
        overdue: datetime,
        after: SignalToSettle | None,
        limit: int,
    ) -> list[SignalToSettle]:
        """Undecided entry signals with event_at <= `before`, of symbols that have a feed, in order of time.

        A signal later than `overdue` waits until the feed has reached the end of its horizon: a bar that is
        only late could still decide it. They follow the signal `after`, the last one of the previous batch.
        """
        parameters = {
            "strategy": strategy,
            "before": before,
            "overdue": overdue,
            "horizon": HORIZON,
            "last_bar": HORIZON - BAR_INTERVAL,
            "after_event_at": after.event_at if after else "-infinity",
            "after_symbol": after.symbol if after else "",
            "after_sequence": after.sequence if after else 0,
            "limit": limit,
        }
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_SQL["signals_to_settle"], parameters)
            rows = await cursor.fetchall()
        return [
            SignalToSettle(
                **row | {name: _decoded_bars(row[name]) for name in ("bars", "first_bars") if row[name]}
            )
            for row in rows
        ]

    async def settle(self, decided: Sequence[SettledSignal]) -> None:
        """Stores the results, all or none; a signal that is settled already stays as it is."""
        async with self._database.transaction(jobs=True) as connection:
            await connection.execute(_SQL["settle"], {"decided": msgspec.json.encode(decided).decode()})

    async def outcomes(self, strategy: str, *, before: datetime, limit: int) -> list[Outcome]:
        """The `limit` newest decided signals of a strategy whose horizon had passed by `before`, oldest
        first.
        """
        parameters = {"strategy": strategy, "before": before - HORIZON, "horizon": HORIZON, "limit": limit}
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=class_row(Outcome))
            await cursor.execute(_SQL["outcomes"], parameters)
            return await cursor.fetchall()

    async def reported(self, strategy: str, *, before: datetime) -> Reported:
        """What trades tell about signals up to `before` of symbols without a feed, while signals are kept."""
        parameters = {
            "strategy": strategy,
            "before": before,
            "share": MAX_ACCOUNT_TO_OTHERS,
            "limit": MAX_REPORTED_SIGNALS,
            "followers": MAX_FOLLOWERS,
            **fit_parameters(FIT),
        }
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=class_row(Reported))
            await cursor.execute(_SQL["reported"], parameters)
            (reported,) = await cursor.fetchall()
            return reported
