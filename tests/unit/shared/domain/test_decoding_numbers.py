"""In every number of every body, the value decides and not the spelling; what is no number is named."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.trades import TradesRequest
from shared.domain.decoding import decode
from shared.domain.market.bars import Bar
from shared.domain.market.signals import SignalRequest
from shared.domain.trading.trades import Trade
from shared.errors import ValidationFailed
from shared.services.bars import BarsRequest
from tests.support.requests import BAR, BARS, SIGNAL, TRADE

# Every number in a struct that a body is decoded as.
AMOUNTS = [
    *((Trade, name) for name in ("quantity", "entry_price", "exit_price", "pnl", "fees")),
    *((Bar, name) for name in ("open", "high", "low", "close")),
    *((SignalRequest, name) for name in ("price", "stop_price", "target_price")),
]
WHOLE = [(Trade, "signal_sequence"), (Bar, "volume"), (SignalRequest, "strategy_version")]
SENT: dict[Any, dict[str, Any]] = {Trade: TRADE, Bar: BAR, SignalRequest: SIGNAL}
PLACE = {Trade: "trades[1].", Bar: "bars[1].", SignalRequest: ""}


def body_with(kind: Any, name: str, text: str, indent: int | None = None) -> bytes:
    """A body whose field `name` is the JSON `text`, among good objects."""
    changed = SENT[kind] | {name: "<here>"}
    whole: Any = changed
    if kind is Trade:
        whole = {"trades": [TRADE, changed, TRADE]}
    elif kind is Bar:
        whole = BARS | {"bars": [BAR, changed, BAR]}
    return json.dumps(whole, indent=indent).replace('"<here>"', text).encode()


def read(kind: Any, body: bytes) -> Any:
    if kind is Trade:
        return decode(body, TradesRequest).trades[1]
    if kind is Bar:
        return decode(body, BarsRequest).bars[1]
    return decode(body, SignalRequest)


def refusal(kind: Any, body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as caught:
        read(kind, body)
    return [(error.field.removeprefix(PLACE[kind]), error.code) for error in caught.value.errors]


def value_of(number: str) -> Fraction:
    """The value of a JSON number by the school's rule, without Decimal."""
    mantissa, _, exponent = number.lower().partition("e")
    whole, _, after = mantissa.partition(".")
    return int(whole + after) * Fraction(10) ** (int(exponent or 0) - len(after))


def is_plain_decimal(text: str) -> bool:
    parts = text.removeprefix("-").split(".")
    return len(parts) <= 2 and all(part and set(part) <= set("0123456789") for part in parts)


def spelled(value: Fraction, zeros: int, power: int, letter: str) -> str:
    """`value`, a multiple of 10^-8, as a JSON number with zeros at its end and with an exponent."""
    digits = str(abs(int(value * 10**8)) * 10**zeros)
    shift = -8 - zeros - power
    whole, after = digits, ""
    if shift < 0:
        digits = digits.rjust(1 - shift, "0")
        whole, after = digits[:shift], f".{digits[shift:]}"
    else:
        whole = digits + "0" * shift if digits != "0" else "0"
    sign = "-" if value < 0 else ""
    return (
        f"{sign}{whole.lstrip('0') or '0'}{after}{letter}{power}"
        if power
        else f"{sign}{whole.lstrip('0') or '0'}{after}"
    )


values = st.integers(-(10**17), 10**17).map(lambda units: Fraction(units, 10**8))
numbers = st.builds(
    spelled, values, st.integers(0, 12), st.integers(-9, 12), st.sampled_from(["e", "E", "e+"])
).map(lambda text: text.replace("e+-", "e-"))


@given(st.sampled_from(AMOUNTS), numbers, st.sampled_from([None, 1]))
@example((Trade, "pnl"), "112.500000000", None)
@example((Trade, "fees"), "0E-10", None)
@example((Bar, "close"), "65.4325e2", 1)
@example((SignalRequest, "price"), "-0.0", None)
def test_an_amount_has_the_value_of_its_number(field: tuple[Any, str], text: str, indent: int | None) -> None:
    kind, name = field
    found = getattr(read(kind, body_with(kind, name, text, indent)), name)
    assert Fraction(found) == value_of(text)
    exponent = found.as_tuple().exponent
    # Within these bounds, Postgres stores the value as it stands.
    assert -8 <= exponent <= 0 or found.adjusted() >= 30


@given(st.sampled_from(AMOUNTS), st.text('0123456789._+-eE \u00a0\uff11\u0663naifNI"\\', max_size=10))
@example((Trade, "pnl"), "1_000.5")
@example((Trade, "entry_price"), "\uff11\uff12")
@example((Bar, "open"), " 12 ")
@example((Bar, "low"), "12\n")
@example((SignalRequest, "stop_price"), "NaN")
@example((SignalRequest, "price"), "1e3")
@example((SignalRequest, "target_price"), "+1")
@example((Trade, "quantity"), "-12.50")
def test_a_string_is_an_amount_only_as_a_plain_decimal(field: tuple[Any, str], text: str) -> None:
    kind, name = field
    for written in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        body = body_with(kind, name, written)
        if is_plain_decimal(text):
            assert getattr(read(kind, body), name) == Decimal(text)
        else:
            assert refusal(kind, body) == [(name, "invalid_format")]


@given(st.sampled_from(WHOLE), numbers, st.sampled_from([None, 1]))
@example((Bar, "volume"), "1234.0", None)
@example((Bar, "volume"), "1.03e6", None)
@example((Bar, "volume"), "10.5e1", 1)
@example((Trade, "signal_sequence"), "9007199254740993.0", None)
def test_a_whole_number_may_be_written_as_any_number(
    field: tuple[Any, str], text: str, indent: int | None
) -> None:
    kind, name = field
    value = value_of(text)
    body = body_with(kind, name, text, indent)
    low, high = {"signal_sequence": (1, 10**15), "volume": (0, 10**30), "strategy_version": (1, 10**6)}[name]
    if value.denominator != 1:
        assert refusal(kind, body) == [(name, "wrong_type")]
    elif low <= value < high:
        assert getattr(read(kind, body), name) == int(value)
        assert type(getattr(read(kind, body), name)) is int
    elif value != high:
        assert refusal(kind, body) == [(name, "out_of_range")]


@pytest.mark.parametrize("field", [*AMOUNTS, *WHOLE], ids=lambda field: f"{field[0].__name__}.{field[1]}")
@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_no_number_for_is_named(field: tuple[Any, str], text: str) -> None:
    kind, name = field
    assert refusal(kind, body_with(kind, name, text)) == [(name, "out_of_range")]


@pytest.mark.parametrize("field", WHOLE, ids=lambda field: field[1])
@pytest.mark.parametrize("text", ["1e400", "1e999999999999999999", "1" * 5_000, "-1e400"])
def test_a_huge_whole_number_is_refused_by_its_field(field: tuple[Any, str], text: str) -> None:
    kind, name = field
    assert refusal(kind, body_with(kind, name, text)) == [(name, "out_of_range")]


@pytest.mark.parametrize("field", WHOLE, ids=lambda field: field[1])
@pytest.mark.parametrize("text", ['"1"', '"1.0"', "true", "[]", "1.5", "1e-1", "0.99999999999999999999999"])
def test_what_is_no_whole_number_is_refused(field: tuple[Any, str], text: str) -> None:
    kind, name = field
    assert refusal(kind, body_with(kind, name, text)) == [(name, "wrong_type")]


@pytest.mark.parametrize(
    ("text", "field", "code"),
    [
        ('"0.6"', "trades[1].confidence", "wrong_type"),
        ("1e400", "trades[1].confidence", "out_of_range"),
        ("1.01", "trades[1].confidence", "out_of_range"),
        ("NaN", "trades[1].confidence", "out_of_range"),
        ('{"rsi": 1e400}', "trades[1].features.rsi", "out_of_range"),
        ('{"rsi": NaN}', "trades[1].features.rsi", "out_of_range"),
        ('{"rsi": null}', "trades[1].features.rsi", "wrong_type"),
    ],
)
def test_a_float_that_cannot_be_held_is_named_with_its_path(text: str, field: str, code: str) -> None:
    name = "features" if text.startswith("{") else "confidence"
    with pytest.raises(ValidationFailed) as caught:
        decode(body_with(Trade, name, text), TradesRequest)
    assert [(error.field, error.code) for error in caught.value.errors] == [(field, code)]


@pytest.mark.parametrize("text", ["0.6", "6e-1", "0.60000000", "6.0E-1"])
def test_floats_may_be_written_in_any_form(text: str) -> None:
    assert read(Trade, body_with(Trade, "confidence", text)).confidence == 0.6
    assert read(Trade, body_with(Trade, "features", f'{{"rsi": {text}}}')).features == {"rsi": 0.6}


def body_of_bar(prices: list[str], volume: str) -> bytes:
    names = ("open", "high", "low", "close")
    priced = ", ".join(f'"{name}": {price}' for name, price in zip(names, prices, strict=True))
    bar = f'{{"open_time": "2026-03-02T14:29:00Z", {priced}, "volume": {volume}}}'
    return f'{{"symbol": "ES", "bars": [{bar}]}}'.encode()


@given(st.lists(numbers, min_size=4, max_size=4), st.integers(0, 10**9))
def test_bars_of_one_value_are_one_bar_however_they_are_written(prices: list[str], volume: int) -> None:
    usual = [f'"{Decimal(int(value_of(price) * 10**8)).scaleb(-8):f}"' for price in prices]
    expected = decode(body_of_bar(usual, str(volume)), BarsRequest)
    assert decode(body_of_bar(prices, f"{volume}.00"), BarsRequest) == expected
    assert decode(body_of_bar(prices, f"{volume * 100}E-2"), BarsRequest) == expected
