"""Numbers are rounded, and states that round to the same share a key."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import DEFAULT, STATES, market_state

NOTES = {"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@given(
    st.floats(0, 10),
    st.floats(0, 100),
    st.none() | st.floats(0, 10_000),
    st.none() | st.integers(0, 23),
)
def test_rounding_goes_to_the_nearest_multiple_stays_in_range_and_is_stable(
    distance: float, rsi: float, atr: float | None, hour: int | None
) -> None:
    given_fields = {**NOTES, "vwap_distance": distance, "rsi": rsi, "atr": atr, "hour": hour}
    state = STATES.read(body(**given_fields))
    for feature, value, rounded in zip(
        DEFAULT.modelled, (distance, rsi, atr, None, hour), state.features, strict=True
    ):
        if value is None:
            assert math.isnan(rounded)
            continue
        assert feature.range is not None
        assert feature.range[0] <= rounded <= feature.range[1]
        assert abs(rounded - value) <= feature.quantum / 2 + 1e-9
    again = {
        feature.name: None if math.isnan(value) else value
        for feature, value in zip(DEFAULT.modelled, state.features, strict=True)
    }
    assert STATES.read(body(**{**given_fields, **again})).key == state.key


@given(st.floats(0, 100), st.floats(0, 100))
def test_states_share_a_key_exactly_where_their_rounded_features_are_equal(one: float, other: float) -> None:
    first, second = (STATES.read(body(**{**NOTES, "rsi": rsi})) for rsi in (one, other))
    assert (first.key == second.key) == (repr(first.features) == repr(second.features))


def test_the_side_and_the_symbol_are_part_of_the_key() -> None:
    states = [
        STATES.read(body(**{**NOTES, "symbol": symbol, "signal_type": side}))
        for symbol in ("ES", "NQ")
        for side in ("LONG", "SHORT")
    ]
    assert len({state.key for state in states}) == 4


def test_a_key_names_all_that_two_equal_states_share() -> None:
    state = market_state("vwap_bounce", "NQ", "SHORT", {"vwap_distance": 2.13, "rsi": 35.4, "hour": 9})
    assert state.key == "vwap_bounce.1:NQ:SHORT:21,35,,,9"
    assert state.cache_key("v1") == "confidence:{vwap_bounce.1:NQ:SHORT:21,35,,,9}:v1"
