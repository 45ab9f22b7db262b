"""The value of a number decides, not its spelling; and what is written is plain."""

import json
import time
from decimal import Decimal, InvalidOperation, localcontext
from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.numbers import (
    JSON_NUMBER,
    PLAIN_DECIMAL,
    NoNumber,
    exact,
    has_unusual_numbers,
    plain,
)

digits = st.text("0123456789", min_size=1, max_size=25)
# Every form that JSON allows.
json_numbers = st.builds(
    lambda sign, whole, fraction, exponent: f"{sign}{int(whole)}{fraction}{exponent}",
    st.sampled_from(["", "-"]),
    digits,
    st.just("") | digits.map(lambda text: f".{text}"),
    st.just("")
    | st.tuples(st.sampled_from(["e", "E", "e+", "E-"]), st.integers(0, 40)).map(lambda e: f"{e[0]}{e[1]}"),
)
amounts = st.decimals(-(10**9), 10**9, places=8, allow_nan=False, allow_infinity=False)
# Texts of the characters that Decimal reads, and some that it nearly reads.
nearly_numbers = st.text('0123456789._+-eE \t\u00a0\u2003\uff11\u0663nNaAiIfFsS\\"', max_size=12)


def fraction_of(text: str) -> Fraction:
    """The value by the school's rule, without Decimal."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, after = mantissa.partition(".")
    power = int(exponent or 0) - len(after)
    return int(whole + after) * (Fraction(10) ** power)


@given(json_numbers)
@example("1234.0")
@example("1.03e6")
@example("112.500000000")
@example("0E-10")
@example("-0.0")
@example("100E-2")
def test_a_number_has_its_exact_value_in_every_spelling(text: str) -> None:
    assert JSON_NUMBER.fullmatch(text)
    value = exact(text)
    assert Fraction(value) == fraction_of(text)
    _, _, exponent = value.as_tuple()
    # No zeros at the end of a fraction, so the exponent is that of the value and not that of the spelling.
    assert isinstance(exponent, int)
    assert exponent <= 0 or value.adjusted() >= 30
    if exponent < 0:
        assert value.as_tuple().digits[-1] != 0


@given(json_numbers, st.integers(0, 30))
def test_zeros_at_the_end_and_a_context_change_nothing(text: str, zeros: int) -> None:
    mantissa, letter, exponent = text.lower().partition("e")
    longer = f"{mantissa}{'' if '.' in mantissa else '.'}{'0' * (zeros + 1)}{letter}{exponent}"
    with localcontext(prec=3):
        assert exact(longer).as_tuple() == exact(text).as_tuple()


@pytest.mark.parametrize(
    "text",
    ["1e400", "-1e400", "1e999999999999999999999", "9" * 1_000_000, "1e-400", "-1e-99999999999999999999"],
)
def test_numbers_far_outside_stay_outside_and_cost_little(text: str) -> None:
    began = time.process_time()
    value = exact(text)
    assert not -(10**9) <= value <= 10**9 or value != value.quantize(Decimal("1E-8"))
    assert value != 0
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize("text", ["0e999999999999999999999", "-0E-99999999999999999999", "0.000000000000000"])
def test_zero_is_zero_with_every_exponent(text: str) -> None:
    assert str(exact(text)) == "0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("112.50", "112.5"),
        ("0E-8", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("1E-8", "0.00000001"),
        ("-1.50E-7", "-0.00000015"),
        ("1E+3", "1000"),
        ("100", "100"),
        ("6543.25", "6543.25"),
    ],
)
def test_amounts_are_written_as_plain_decimals(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


@given(amounts)
def test_what_is_written_is_read_again_and_has_one_form(value: Decimal) -> None:
    text = plain(value)
    assert PLAIN_DECIMAL.fullmatch(text)
    assert exact(text) == value
    assert plain(exact(text)) == text
    assert "." not in text or text[-1] not in ".0"


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("12", True),
        ("-12.5", True),
        ("007.10", True),
        ("1_000.5", False),
        (" 12 ", False),
        ("12\n", False),
        ("\uff11\uff12", False),
        ("\u0661", False),
        ("+1", False),
        ("1e3", False),
        (".5", False),
        ("5.", False),
        ("NaN", False),
        ("-Infinity", False),
        ("", False),
        ("0x10", False),
        ("1,000", False),
    ],
)
def test_only_digits_with_a_sign_and_a_fraction_are_a_plain_decimal(text: str, is_plain: bool) -> None:
    assert (PLAIN_DECIMAL.fullmatch(text) is not None) == is_plain


class Priced(msgspec.Struct):
    price: Decimal


def decimal_reads(text: str) -> bool:
    try:
        Decimal(text)
    except InvalidOperation:
        return False
    return True


@given(nearly_numbers)
@example("1_000.5")
@example("_-_1_._5_e_+_3_")
@example("i_n_f")
@example(" -sNaN12 ")
@example("1.000000000")
def test_no_unusual_string_is_overlooked(text: str) -> None:
    body = msgspec.json.encode({"price": text})
    if decimal_reads(text) and not PLAIN_DECIMAL.fullmatch(text):
        assert has_unusual_numbers(body)
        assert has_unusual_numbers(body.replace(b":", b" : \n"))
        assert has_unusual_numbers(json.dumps({"price": text}, ensure_ascii=True).encode())


@given(json_numbers, st.sampled_from(["", " ", "\n\t"]))
def test_no_unusual_number_is_overlooked(text: str, blanks: str) -> None:
    body = f'{{"price":{blanks}{text}{blanks}}}'.encode()
    read = msgspec.json.decode(body, type=Priced).price.as_tuple()
    assert isinstance(read.exponent, int)
    if read.exponent > 0 or read.exponent < -8:
        assert has_unusual_numbers(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"price":"6543.25","pnl":-112.50,"at":"2026-03-02T14:29:00.123456789Z","id":"t-1","side":"LONG"}',
        b'{"price": 6543.25, "at": "2026-03-02 14:29:00+00:00", "n": [1, 2.5], "id": "12345678901234567890"}',
        b'{"strategy":"sniper","id":"2026-11-28-a","x":"E7","y":true,"z":null}',
    ],
)
def test_usual_bodies_are_not_read_twice(body: bytes) -> None:
    assert not has_unusual_numbers(body)


def test_a_number_that_no_double_holds_keeps_its_text() -> None:
    assert NoNumber("1e400").text == "1e400"
    assert NoNumber("-Infinity") < 0
    assert len(NoNumber("9" * 5_000).text) == 43
