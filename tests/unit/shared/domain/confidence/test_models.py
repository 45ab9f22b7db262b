"""Model versions, what of them can be served, and how states become a model's input."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest

from shared.domain.confidence.encoding import StateEncoder, column_names
from shared.domain.confidence.market_state import StateMaker
from shared.domain.confidence.models import (
    ModelDocument,
    StoredModel,
    UnusableModel,
    Window,
    served,
    untrained,
    version_of,
)
from shared.domain.confidence.strategy import Feature
from shared.training.export import extreme_states
from tests.support.strategies import DEFAULT, STRATEGIES, market_state

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
COLUMNS = column_names(DEFAULT)


def document(**changed: object) -> ModelDocument:
    plain = ModelDocument(
        strategy_version=DEFAULT.version,
        basis="model",
        base_rate=0.6,
        n=100,
        wins=60,
        window=Window(NOW, NOW),
        columns=COLUMNS,
        fills=(0.0,) * len(COLUMNS),
        kind="logistic",
        data_hash="ab",
        decision="model",
        reason="it won",
    )
    return msgspec.structs.replace(plain, **changed)


def stored(said: ModelDocument, artefact: bytes | None = b"onnx") -> StoredModel:
    return StoredModel(
        version="vwap_bounce-20251013T140000Z-abcdef01",
        strategy="vwap_bounce",
        status="champion",
        basis=said.basis,
        artefact=artefact,
        document=msgspec.to_builtins(said),
        created_at=NOW,
    )


def test_a_version_says_when_it_was_made_and_from_what() -> None:
    version = version_of("vwap_bounce", NOW, b"content")
    assert version == "vwap_bounce-20251013T140000Z-ed7002b4"  # sha256 of b"content"
    assert version_of("vwap_bounce", NOW.astimezone(timezone(timedelta(hours=-4))), b"content") == version
    assert version_of("vwap_bounce", NOW, b"other") != version


def test_a_document_survives_its_way_through_json() -> None:
    through = msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(document())))
    assert msgspec.convert(through, ModelDocument) == document()


def test_a_model_of_the_current_schema_is_served() -> None:
    model = served(stored(document()), DEFAULT)
    assert (model.basis, model.artefact, model.columns) == ("model", b"onnx", COLUMNS)


def test_a_base_rate_is_served_without_columns() -> None:
    model = served(stored(document(basis="base_rate", columns=(), fills=()), None), DEFAULT)
    assert (model.basis, model.base_rate, model.artefact) == ("base_rate", 0.6, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"strategy_version": 2},
        {"columns": (*COLUMNS[:-1], "volume")},
        {"columns": COLUMNS[:-1], "fills": (0.0,) * (len(COLUMNS) - 1)},
        {"fills": (0.0,)},
    ],
)
def test_a_model_of_another_schema_is_served_as_its_base_rate_under_another_version(
    changed: dict[str, object],
) -> None:
    model = served(stored(document(**changed)), DEFAULT)
    assert (model.basis, model.base_rate) == ("base_rate", 0.6)
    assert model.version == "vwap_bounce-20251013T140000Z-abcdef01-base-rate"


def test_an_unreadable_document_is_refused() -> None:
    broken = msgspec.structs.replace(stored(document()), document={"n": "many"})
    with pytest.raises(UnusableModel):
        served(broken, DEFAULT)
    with pytest.raises(UnusableModel):
        served(stored(document(base_rate=1.5)), DEFAULT)


def test_untrained_means_the_prior() -> None:
    model = untrained(DEFAULT)
    assert (model.version, model.base_rate, model.basis) == ("vwap_bounce-untrained", 0.5, "base_rate")


def test_the_base_rate_is_smoothed_towards_the_prior() -> None:
    prior = DEFAULT.prior
    assert prior.base_rate(0, 0) == 0.5
    assert prior.base_rate(10, 10) == pytest.approx((0.5 * 20 + 10) / 30)
    assert prior.base_rate(6_940, 10_000) == pytest.approx(0.694, abs=0.001)


def test_every_state_becomes_a_row_of_named_columns() -> None:
    state = market_state("vwap_bounce", "NQ", "SHORT", {"vwap_distance": 2.1, "rsi": 35, "atr": 4.0})
    fills = np.arange(len(COLUMNS), dtype=float)
    row = dict(
        zip(
            COLUMNS,
            StateEncoder(DEFAULT).encode([state], [float(fill) for fill in fills])[0].tolist(),
            strict=True,
        )
    )
    assert row == {
        "side:SHORT": 1,
        "symbol:ES": 0,
        "symbol:NQ": 1,
        "symbol:CL": 0,
        "symbol:YM": 0,
        "symbol:RTY": 0,
        "vwap_distance": pytest.approx(2.1),
        "rsi": 35,
        "atr": 4,
        "atr:absent": 0,
        "volume_ratio": COLUMNS.index("volume_ratio"),
        "volume_ratio:absent": 1,
        "hour": COLUMNS.index("hour"),
        "hour:absent": 1,
    }


def test_categories_and_booleans_become_columns_of_ones_and_zeros() -> None:
    features = {
        "flush_size_ticks": 38,
        "flush_velocity": 5.4,
        "flush_direction": "UP",
        "distance_from_flush_low": 9,
        "rsi": 17,
        "volume_climax_ratio": 1.2,
        "vwap_distance_ticks": -122,
        "reversal_candle": True,
        "no_new_extreme": False,
        "regime": "NORMAL_CHOPPY",
        "session": "RTH",
        "hour": 10,
    }
    strategy = STRATEGIES["capitulation_reversal"]
    columns = column_names(strategy)
    state = market_state("capitulation_reversal", "ES", "LONG", features)
    row = dict(
        zip(columns, StateEncoder(strategy).encode([state], [0.0] * len(columns))[0].tolist(), strict=True)
    )
    assert {name for name, value in row.items() if value == 1} == {
        "symbol:ES",
        "flush_direction:UP",
        "reversal_candle",
        "regime:NORMAL_CHOPPY",
        "session:RTH",
    }
    assert (row["vwap_distance_ticks"], row["hour"], row["no_new_extreme"]) == (-122, 10, 0)


def test_rows_of_a_batch_are_those_of_its_states() -> None:
    states = [
        market_state("vwap_bounce", symbol, side, {"vwap_distance": rsi / 10, "rsi": rsi})
        for symbol in ("ES", "CL")
        for side in ("LONG", "SHORT")
        for rsi in range(0, 100, 9)
    ]
    fills = [0.5] * len(COLUMNS)
    encoder = StateEncoder(DEFAULT)
    batch = encoder.encode(states, fills)
    assert batch.dtype == np.float32
    assert not np.isnan(batch).any()
    for state, row in zip(states, batch, strict=True):
        assert np.array_equal(encoder.encode([state], fills)[0], row)


def test_a_category_of_one_value_has_no_other_extreme() -> None:
    base = DEFAULT
    session = Feature(name="session", type="category", description="when", categories=("rth",))
    strategy = msgspec.structs.replace(base, name="alone", features=(*base.features, session))
    columns = column_names(strategy)
    rows = StateEncoder(strategy).encode(extreme_states(strategy), [0.0] * len(columns))
    assert rows.shape[1] == len(columns)
    assert set(rows[:, columns.index("session:rth")]) == {1.0}


def test_an_optional_category_that_is_absent_is_none_of_its_values() -> None:
    session = Feature(
        name="session", type="category", description="when", categories=("rth", "eth"), optional=True
    )
    calm = Feature(name="calm", type="boolean", description="calm", optional=True)
    strategy = msgspec.structs.replace(DEFAULT, features=(session, calm))
    maker, encoder, columns = StateMaker(strategy), StateEncoder(strategy), column_names(strategy)
    states = [maker.of_outcome("ES", "LONG", given) for given in ({}, {"session": "eth", "calm": True})]
    rows = encoder.encode(states, [0.5] * len(columns))
    named = [dict(zip(columns, row.tolist(), strict=True)) for row in rows]
    optional = ("session:rth", "session:eth", "calm", "calm:absent")
    assert [[row[name] for name in optional] for row in named] == [[0, 0, 0.5, 1], [0, 1, 1, 0]]
