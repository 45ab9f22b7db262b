"""Every bad field is named, and nothing that is sent makes the decoder fail otherwise."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.decoding import decode
from shared.domain.problems import MAX_PROBLEMS
from shared.domain.trading.trades import Trade
from shared.errors import InvalidInput, MalformedJson, ValidationFailed


class Report(msgspec.Struct, forbid_unknown_fields=True):
    trades: list[Trade]


GOOD = {
    "trade_id": "t-1",
    "symbol": "ES",
    "side": "LONG",
    "entry_price": "6543.25",
    "exit_price": 6545.5,
    "entry_at": "2025-10-13T13:30:00Z",
    "exit_at": "2025-10-13T13:45:00Z",
    "pnl": "112.50",
}


def problems(value: object) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as caught:
        decode(msgspec.json.encode(value), Report)
    return {error.field: error.code for error in caught.value.errors}


def test_a_good_report_keeps_decimals_exact() -> None:
    trade = decode(msgspec.json.encode({"trades": [GOOD]}), Report).trades[0]
    assert (str(trade.entry_price), str(trade.exit_price), str(trade.pnl)) == ("6543.25", "6545.5", "112.50")


def test_every_bad_field_is_named_with_its_own_code() -> None:
    bad = {**GOOD, "side": "UP", "pnl": True, "signal_sequence": 0, "sybmol": "ES", "trade_id": "a b"}
    del bad["exit_price"]
    assert problems({"trades": [GOOD, bad]}) == {
        "trades[1].sybmol": "unknown_field",
        "trades[1].trade_id": "invalid_format",
        "trades[1].side": "unknown_value",
        "trades[1].exit_price": "missing",
        "trades[1].pnl": "wrong_type",
        "trades[1].signal_sequence": "out_of_range",
    }


def test_only_unknown_fields_narrow_the_code_and_suggest_the_name() -> None:
    with pytest.raises(ValidationFailed) as caught:
        decode(msgspec.json.encode({"trades": [{**GOOD, "sybmol": "ES"}]}), Report)
    assert caught.value.code == "unknown_field"
    assert "did you mean 'symbol'?" in caught.value.errors[0].message


def test_what_postgres_cannot_hold_is_refused_by_field() -> None:
    bad = {**GOOD, "signal_sequence": 2**63, "model_version": "a\0b"}
    assert problems({"trades": [bad]}) == {
        "trades[0].signal_sequence": "out_of_range",
        "trades[0].model_version": "invalid_format",
    }


def test_one_bad_item_behind_thousands_of_good_ones_is_found() -> None:
    assert problems({"trades": [GOOD] * 5_000 + [{}]})["trades[5000].pnl"] == "missing"


def test_the_number_of_errors_is_bounded() -> None:
    assert len(problems({"trades": [{}] * 500})) == MAX_PROBLEMS


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"trades": [1e999]}'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        decode(body, Report)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "trades", "x"]), inner)
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_taken_or_refused_by_field(value: object) -> None:
    try:
        decode(msgspec.json.encode(value), Report)
    except InvalidInput as error:
        assert error.code in ("validation_failed", "unknown_field", "malformed_json")


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    try:
        decode(body, Report)
    except InvalidInput as error:
        assert error.detail
