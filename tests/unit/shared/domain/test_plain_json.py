"""Amounts and other numbers leave as plain decimals, whatever form Python gives them."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.market.messages import message_of
from shared.domain.numbers import plain
from shared.domain.plain_json import encode
from shared.domain.trading.trades import StoredTrade
from tests.support.samples import START, a_signal, a_trade

EXPONENT = re.compile(rb"[0-9][eE][-+]?[0-9]")


def stored(**changes: Any) -> StoredTrade:
    fields = msgspec.structs.asdict(a_trade(**changes))
    return StoredTrade(**fields, received_at=START, withdrawn_at=None)


amounts = st.decimals(-(10**9), 10**9, places=8).map(lambda value: Decimal(plain(value)))


@given(amounts, amounts, st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_of_a_trade_comes_out_plain_and_equal(pnl: Decimal, fees: Decimal, rsi: float) -> None:
    encoded = encode([stored(pnl=pnl, fees=fees, features={"rsi": rsi}, trade_id="t")])
    (trade,) = json.loads(encoded)
    assert (trade["pnl"], trade["fees"]) == (plain(pnl), plain(fees))
    assert trade["features"] == {"rsi": rsi}
    assert not EXPONENT.search(encoded.replace(b"e:", b""))


@pytest.mark.parametrize("text", ["0.00000001", "-0.0000001", "0", "112.5", "-1000000000"])
def test_a_signal_has_its_price_plain(text: str) -> None:
    signal = msgspec.structs.replace(a_signal(1, START), price=Decimal(text), stop_price=Decimal(text))
    message = json.loads(encode(message_of(signal)))
    assert (message["signal"]["price"], message["signal"]["stop_price"]) == (text, text)


@pytest.mark.parametrize(
    "value",
    [
        {"id": "1E-7", "other": ["2e5", "x"], "price": Decimal("1E-7")},
        {"trade_id": "1e5", "features": {"rsi": 1e-7, "regime": "1E9", "flag": True}},
        {"at": datetime(2026, 3, 2, tzinfo=UTC), "id": UUID(int=1), "n": 1e22, "none": None, "t": (1, 2.0)},
    ],
)
def test_all_else_is_encoded_as_it_is_without_numbers_in_exponent_form(value: Any) -> None:
    usual = json.loads(msgspec.json.encode(value))

    def same(ours: Any, theirs: Any) -> bool:
        if isinstance(theirs, dict):
            return ours.keys() == theirs.keys() and all(same(ours[name], theirs[name]) for name in theirs)
        if isinstance(theirs, list):
            return len(ours) == len(theirs) and all(map(same, ours, theirs))
        return bool(ours == theirs or (theirs == "1E-7" and ours == "0.0000001"))

    assert same(json.loads(encode(value)), usual)
    assert json.loads(encode({"id": "1E-7", "price": Decimal("1E-7")})) == {
        "id": "1E-7",
        "price": "0.0000001",
    }
