"""Reports move a base rate by a stated little, and a jump is one beyond noise."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.confidence.encoding import column_names
from shared.domain.confidence.models import ModelDocument, StoredModel, Window
from shared.domain.confidence.safeguards import (
    MAX_REPORTED_SHARE,
    REPORTED_SIGNAL_WEIGHT,
    Average,
    Reported,
    average_of,
    counted,
    is_jump,
    served_average,
)
from shared.domain.confidence.strategy import Prior
from tests.support.strategies import DEFAULT

AT = datetime(2026, 3, 2, tzinfo=UTC)


def document(**changes: Any) -> ModelDocument:
    values: dict[str, Any] = {
        "strategy_version": DEFAULT.version,
        "basis": "base_rate",
        "base_rate": 0.6,
        "n": 400,
        "wins": 240,
        "window": Window(AT, AT),
        "data_hash": "0",
        "decision": "base_rate",
        "reason": "",
    }
    return ModelDocument(**(values | changes))


def stored(one: ModelDocument, artefact: bytes | None = None) -> StoredModel:
    return StoredModel(
        version="v",
        strategy=DEFAULT.name,
        status="champion",
        basis=one.basis,
        artefact=artefact,
        document=msgspec.to_builtins(one),
        created_at=AT,
    )


@given(
    decided=st.integers(0, 50_000),
    wins=st.floats(0, 1),
    weight=st.floats(0, 1e6),
    won=st.floats(0, 1),
    prior=st.builds(Prior, st.floats(0.01, 0.99), st.floats(1, 1_000)),
)
def test_whatever_is_reported_moves_a_base_rate_by_less_than_two_hundredths(
    decided: int, wins: float, weight: float, won: float, prior: Prior
) -> None:
    more, more_wins = counted(Reported(weight=weight, wins=won * weight), decided, prior.strength)
    without = prior.base_rate(wins * decided, decided)
    reported = prior.base_rate(wins * decided + more_wins, decided + more)
    assert abs(reported - without) < 0.02


def test_a_reported_signal_counts_as_a_part_of_a_decided_one_and_all_as_a_part_of_all() -> None:
    assert counted(Reported(weight=8, wins=6), 980, 20) == pytest.approx(
        (8 * REPORTED_SIGNAL_WEIGHT, 6 * REPORTED_SIGNAL_WEIGHT)
    )
    most = MAX_REPORTED_SHARE * 1_000
    assert counted(Reported(weight=800, wins=600), 980, 20) == pytest.approx((most, 0.75 * most))
    assert counted(Reported(), 980, 20) == (0, 0)


@pytest.mark.parametrize(
    ("former", "new", "jumps"),
    [
        (Average(0.5, 20), Average(0.69, 517), False),  # the first base rate of a real strategy
        (Average(0.5, 20), Average(0.9998, 48_500), True),
        (Average(0.6, 2_000), Average(0.69, 2_000), False),
        (Average(0.6, 2_000), Average(0.72, 2_000), True),
        (Average(0.72, 2_000), Average(0.6, 2_000), True),
        (Average(0.5, 50_000), Average(0.549, 50_000), False),
        (Average(0.5, 50_000), Average(0.57, 50_000), True),
    ],
)
def test_a_jump_is_more_than_a_stated_amount_beyond_noise(former: Average, new: Average, jumps: bool) -> None:
    assert is_jump(former, new) is jumps


def test_what_is_served_on_average_is_what_bots_are_told() -> None:
    prior = Average(DEFAULT.prior.mean, DEFAULT.prior.strength)
    assert served_average(None, DEFAULT) == prior
    assert served_average(stored(document()), DEFAULT) == Average(0.6, 400)
    unreadable = msgspec.structs.replace(stored(document()), document={"base_rate": "?"})
    assert served_average(unreadable, DEFAULT) == prior
    columns = column_names(DEFAULT)
    model = document(basis="model", average=0.7, columns=columns, fills=(0.0,) * len(columns))
    assert served_average(stored(model, b"onnx"), DEFAULT) == average_of(model) == Average(0.7, 400)
    other = msgspec.structs.replace(DEFAULT, version=DEFAULT.version + 1)
    assert served_average(stored(model, b"onnx"), other) == Average(0.6, 400), "then its base rate is served"
