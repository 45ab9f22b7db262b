"""Market states: what is accepted, what is refused and how."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.confidence import market_state as market_state_module
from shared.domain.confidence.market_state import MAX_STATES_PER_REQUEST, StateReader
from shared.domain.problems import MAX_PROBLEMS
from shared.errors import (
    BatchTooLarge,
    InvalidInput,
    MalformedJson,
    NoConfidence,
    ValidationFailed,
)
from tests.support.strategies import REVERSAL, STATES, STRATEGIES, market_state

NOTES = {"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}
SYMBOLS = "one of ES, NQ, CL, YM, RTY"
SIDES = "one of LONG, SHORT"
NAMES = f"one of {', '.join(STRATEGIES)}"


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def refusal(raw: bytes) -> dict[str, tuple[str, str]]:
    """Field -> (code, message) of the errors that `raw` is refused with."""
    with pytest.raises(ValidationFailed) as caught:
        STATES.read(raw)
    return {error.field: (error.code, error.message) for error in caught.value.errors}


def test_the_flat_body_of_the_notes_is_a_state_of_the_default_strategy() -> None:
    state = STATES.read(body(**NOTES))
    assert (state.strategy, state.symbol, state.side) == ("vwap_bounce", "ES", "LONG")
    assert state.features[:2] == (2.1, 35.0)
    assert all(math.isnan(value) for value in state.features[2:])
    assert state.cache_key("m-1") == "confidence:{vwap_bounce.1:ES:LONG:21,35,,,}:m-1"


def test_naming_the_default_strategy_changes_nothing() -> None:
    assert STATES.read(body(**NOTES, strategy="vwap_bounce")).key == STATES.read(body(**NOTES)).key


def test_a_row_of_the_outcomes_file_is_a_state_of_capitulation_reversal() -> None:
    state = STATES.read(body(**REVERSAL))
    assert state.features == (38.0, 5.4, 0.0, 9.0, 17.0, 1.2, -122.0, 1.0, 1.0, 0.0, 1.0, 3.0)
    assert STATES.read(body(**{**REVERSAL, "price": 6488.0})).key == state.key, "no model sees the price"


@pytest.mark.parametrize(
    ("changed", "field", "code", "message"),
    [
        ({"rsi": 135}, "rsi", "out_of_range", "rsi must be between 0 and 100, got 135"),
        ({"rsi": -0.5}, "rsi", "out_of_range", "rsi must be between 0 and 100, got -0.5"),
        ({"rsi": "35"}, "rsi", "wrong_type", 'rsi must be a number between 0 and 100, got "35"'),
        ({"rsi": True}, "rsi", "wrong_type", "rsi must be a number between 0 and 100, got true"),
        ({"rsi": None}, "rsi", "wrong_type", "rsi must be a number between 0 and 100, got null"),
        ({"rsi": [35]}, "rsi", "wrong_type", "rsi must be a number between 0 and 100, got [35]"),
        ({"rsi": math.nan}, "rsi", "out_of_range", "rsi must be between 0 and 100, got NaN"),
        ({"rsi": math.inf}, "rsi", "out_of_range", "rsi must be between 0 and 100, got Infinity"),
        ({"hour": 3.5}, "hour", "wrong_type", "hour must be an integer between 0 and 23, got 3.5"),
        ({"hour": 24}, "hour", "out_of_range", "hour must be between 0 and 23, got 24"),
        ({"symbol": "SPY"}, "symbol", "unknown_value", f'symbol must be {SYMBOLS}, got "SPY"'),
        ({"symbol": 7}, "symbol", "wrong_type", f"symbol must be {SYMBOLS}, got 7"),
        ({"signal_type": "BUY"}, "signal_type", "unknown_value", f'signal_type must be {SIDES}, got "BUY"'),
        ({"strategy": "momentum"}, "strategy", "unknown_value", f'strategy must be {NAMES}, got "momentum"'),
        ({"strategy": None}, "strategy", "wrong_type", f"strategy must be {NAMES}, got null"),
    ],
)
def test_a_bad_field_is_named_with_the_reason_and_what_would_be_accepted(
    changed: dict[str, Any], field: str, code: str, message: str
) -> None:
    assert refusal(body(**{**NOTES, **changed})) == {field: (code, message)}


@pytest.mark.parametrize("huge", ["1e999", "-1e999", "9" * 400, "1e308"])
def test_a_huge_number_is_out_of_range(huge: str) -> None:
    raw = body(**NOTES).replace(b"35", huge.encode())
    code, message = refusal(raw)["rsi"]
    assert code == "out_of_range"
    assert message.startswith("rsi must be between 0 and 100, got ")
    assert len(message) < 100


def test_a_number_of_more_digits_than_can_be_read_is_refused_too() -> None:
    with pytest.raises(InvalidInput):
        STATES.read(body(**NOTES).replace(b"35", b"9" * 100_000))


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        ({"regime": "CALM"}, "unknown_value", "regime must be one of HIGH_VOL_TRENDING, "),
        ({"regime": 3}, "wrong_type", "regime must be one of HIGH_VOL_TRENDING, "),
        ({"reversal_candle": 1}, "wrong_type", "reversal_candle must be true or false, got 1"),
        ({"reversal_candle": "true"}, "wrong_type", "reversal_candle must be true or false, got "),
    ],
)
def test_categories_and_booleans_are_strict(changed: dict[str, Any], code: str, message: str) -> None:
    ((found, said),) = refusal(body(**{**REVERSAL, **changed})).values()
    assert found == code
    assert said.startswith(message)


def test_every_bad_field_is_named_at_once() -> None:
    found = refusal(b'{"signal_type": "BUY", "vwap_distnce": 2, "rsi": 135, "hour": "noon", "atr": -1}')
    assert {field: code for field, (code, _) in found.items()} == {
        "symbol": "missing",
        "signal_type": "unknown_value",
        "vwap_distance": "missing",
        "vwap_distnce": "unknown_field",
        "rsi": "out_of_range",
        "hour": "wrong_type",
        "atr": "out_of_range",
    }
    assert "vwap_distance" in found["vwap_distnce"][1], "the nearest known name is suggested"
    assert found["vwap_distance"][1] == "vwap_distance is required: a number between 0 and 10"


def test_only_unknown_fields_have_a_code_of_their_own() -> None:
    with pytest.raises(ValidationFailed) as caught:
        STATES.read(body(**NOTES, vwap_distnace=1))
    assert caught.value.code == "unknown_field"


def test_null_means_absent_for_an_optional_feature() -> None:
    assert STATES.read(body(**NOTES, atr=None)).key == STATES.read(body(**NOTES)).key


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert STATES.read(body(**NOTES, hour=10.0)).key == STATES.read(body(**NOTES, hour=10)).key


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{", "not valid JSON"),
        (b'{"symbol": "ES",}', "not valid JSON"),
        (b'{"symbol": "\xff"}', "not UTF-8"),
        (b'{"rsi": ' + b"[" * 200_000, "nested too deeply"),
        (body(**NOTES)[:-1] + b', "rsi": NaN, "rsi": 35}', "gives rsi more than once"),
    ],
)
def test_what_is_no_json_is_malformed(raw: bytes, said: str) -> None:
    with pytest.raises(MalformedJson) as caught:
        STATES.read(raw)
    assert said in caught.value.detail


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"ES"', b"7", b"true"])
def test_json_that_is_no_object_is_a_wrong_type(raw: bytes) -> None:
    ((field, (code, message)),) = refusal(raw).items()
    assert (field, code) == ("", "wrong_type")
    assert "JSON object" in message


def test_a_flood_of_unknown_fields_costs_a_bounded_answer() -> None:
    raw = json.dumps({f"field_{index}": index for index in range(20_000)}).encode()
    assert len(refusal(raw)) <= MAX_PROBLEMS


def test_names_that_could_not_be_sent_back_are_made_printable() -> None:
    found = refusal(b'{"\\ud800": 1, "symbol": "\\udfff"}')
    for field, (_, message) in found.items():
        (field + message).encode("utf-8")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
known_names = st.sampled_from([*NOTES, *REVERSAL, "atr", "volume_ratio"])


@given(json_values | st.dictionaries(known_names | st.text(max_size=8), json_values, max_size=20))
def test_no_json_crashes_the_reader(value: Any) -> None:
    raw = json.dumps(value).encode()
    for decode in (STATES.read, STATES.read_batch):
        try:
            decode(raw)
        except InvalidInput as error:
            for problem in error.errors:
                f"{problem.field}{problem.message}".encode()


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        STATES.read(raw)


def test_a_batch_keeps_its_order_and_mixes_strategies() -> None:
    states = STATES.read_batch(json.dumps({"states": [REVERSAL, NOTES, {**NOTES, "hour": 10.0}]}).encode())
    assert [state.strategy for state in states] == ["capitulation_reversal", "vwap_bounce", "vwap_bounce"]
    assert states[2].features[-1] == 10


def test_a_batch_names_the_bad_fields_of_all_its_states() -> None:
    with pytest.raises(ValidationFailed) as caught:
        STATES.read_batch(json.dumps({"states": [NOTES, {**NOTES, "rsi": 101}, 7]}).encode())
    assert [error.field for error in caught.value.errors] == ["states[1].rsi", "states[2]"]


def test_a_published_strategy_that_the_catalog_lacks_has_no_confidence() -> None:
    manual = {"strategy": "manual", "symbol": "XX", "rsi": math.nan}
    with pytest.raises(NoConfidence) as caught:
        STATES.read(json.dumps(manual).encode(), {"manual"})
    assert [(error.field, error.code) for error in caught.value.errors] == [("strategy", "no_confidence")]
    for states in ([manual, NOTES], [{"strategy": "manual"}]):
        with pytest.raises(NoConfidence) as caught:
            STATES.read_batch(json.dumps({"states": states}).encode(), {"manual"})
        assert [error.field for error in caught.value.errors] == ["states[0].strategy"]
    # A name of the catalog stays what it is, published or not.
    assert STATES.read(body(**NOTES, strategy="vwap_bounce"), {"vwap_bounce"}).symbol == "ES"


def test_the_other_strategies_of_a_refused_body_are_found() -> None:
    manual = {"strategy": "manual"}
    assert STATES.other_strategies(json.dumps(manual).encode()) == {"manual"}
    states = [NOTES, manual, {"strategy": "vwap_bounce"}, {"strategy": 7}, 7, manual, {"strategy": "x"}]
    assert STATES.other_strategies(json.dumps({"states": states}).encode()) == {"manual", "x"}
    for raw in (b"7", b"[]", b'{"states": 7}', b'{"states": {}}', b"{}"):
        assert STATES.other_strategies(raw) == set()


def test_nan_in_a_batch_is_named_too() -> None:
    with pytest.raises(ValidationFailed) as caught:
        STATES.read_batch(json.dumps({"states": [NOTES, {**NOTES, "rsi": math.nan}]}).encode())
    assert [error.field for error in caught.value.errors] == ["states[1].rsi"]


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"[]", ""),
        (b"{}", "states"),
        (b'{"states": 7}', "states"),
        (b'{"states": []}', "states"),
        (b'{"states": [], "extra": 1}', "extra"),
    ],
)
def test_a_batch_of_another_shape_is_refused(raw: bytes, field: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        STATES.read_batch(raw)
    assert field in {error.field for error in caught.value.errors}


def test_a_batch_over_its_bound_is_refused() -> None:
    with pytest.raises(BatchTooLarge):
        STATES.read_batch(json.dumps({"states": [NOTES] * (MAX_STATES_PER_REQUEST + 1)}).encode())


def test_the_features_of_a_trade_are_checked_by_the_same_rules() -> None:
    fitting = {"vwap_distance": 2.13, "rsi": 35.4}
    assert market_state("vwap_bounce", "ES", "LONG", fitting).features[:2] == (2.1, 35.0)
    with pytest.raises(ValidationFailed) as caught:
        market_state("vwap_bounce", "ZZ", "LONG", {"vwap_distance": "far", "rsj": 1})
    assert {(error.field, error.code) for error in caught.value.errors} == {
        ("symbol", "unknown_value"),
        ("vwap_distance", "wrong_type"),
        ("rsi", "missing"),
        ("rsj", "unknown_field"),
    }


def test_the_state_of_a_finished_trade_is_the_one_that_was_asked_for() -> None:
    features = {name: value for name, value in NOTES.items() if name not in ("symbol", "signal_type")}
    assert market_state("vwap_bounce", "ES", "LONG", features) == STATES.read(body(**NOTES))


@pytest.mark.parametrize(
    "state",
    [
        NOTES,
        NOTES | {"strategy": "vwap_bounce"},
        NOTES | {"atr": 4, "volume_ratio": None, "hour": 9},
        REVERSAL,
    ],
)
def test_a_good_state_is_read_in_one_pass(monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]) -> None:
    def careful(body: bytes) -> Any:
        raise AssertionError("the careful path is for what is refused")

    monkeypatch.setattr(market_state_module, "parsed", careful)
    encoded = json.dumps(state).encode()
    assert StateReader(STRATEGIES).read(encoded).symbol == "ES"
    assert len(StateReader(STRATEGIES).read_batch(b'{"states": [%s]}' % encoded)) == 1


def test_the_last_bodies_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = StateReader(STRATEGIES)
    short, long = json.dumps(NOTES).encode(), json.dumps(NOTES).encode() + b" " * 512
    assert reader.read(short) is reader.read(bytes(bytearray(short)))
    assert reader.read(long) is not reader.read(long)
    assert reader.read(long) == reader.read(short)
    exactly = short + b" " * (512 - len(short))
    assert reader.read(exactly) is reader.read(exactly)


@pytest.mark.parametrize(
    "second",
    [
        b'"rsi": 35',
        b'"\\u0072si": 36',
        b'"rsi" : 35',
        b'"rsi": NaN',
        b'"symbol": "NQ"',
        b'"atr": null, "atr": 3',
    ],
)
def test_a_name_that_stands_twice_is_refused_and_named(second: bytes) -> None:
    twice = body(**NOTES)[:-1] + b", " + second + b"}"
    name = next(each for each in ("rsi", "symbol", "atr") if each[1:].encode() in second)
    batch = b'{"states": [%s, %s]}' % (body(**NOTES), twice)
    for read, raw, field in ((STATES.read, twice, name), (STATES.read_batch, batch, f"states[1].{name}")):
        with pytest.raises(MalformedJson) as caught:
            read(raw)
        assert [(error.field, error.code) for error in caught.value.errors] == [(field, "repeated_field")]
        assert f"gives {field} more than once" in caught.value.detail


@pytest.mark.parametrize("name", [b'"states"', b'"st\\u0061tes"'])
def test_a_batch_gives_its_states_once(name: bytes) -> None:
    with pytest.raises(MalformedJson, match="gives states more than once"):
        STATES.read_batch(b'{"states": [%s], %s: [%s]}' % (body(**NOTES), name, body(**NOTES)))


def test_a_number_that_no_double_holds_is_named_as_it_was_sent() -> None:
    ((field, (code, message)),) = refusal(body(**NOTES).replace(b'"rsi": 35', b'"rsi": 1e400')).items()
    assert (field, code) == ("rsi", "out_of_range")
    assert message == "rsi must be between 0 and 100, got 1e400"
