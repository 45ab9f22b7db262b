"""Reads numbers by their value, not by their spelling, and writes amounts as plain decimals.

A number is accepted as a JSON number (RFC 8259, section 6) with any exponent and any zeros at its end. An
amount is also accepted as a string with a plain decimal: digits, and if needed a minus sign in front of them
and a fraction behind them.
"""

import re
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal

JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
# A number or a string, in JSON, that Decimal may read as it stands.
USUAL_AMOUNT = re.compile(rb'(?P<quote>"?)(-?[0-9]{1,30}(?:\.[0-9]{1,8})?)(?P=quote)')
PLAIN_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
# A whole number with more digits fits no field. To build it would cost memory and time.
MAX_WHOLE_DIGITS = 30
# Exponents with more digits are far outside every range, and Decimal refuses some of them.
_MAX_EXPONENT_DIGITS = 6
_MAX_SHOWN = 40
_BLANKS = b" \t\r\n"
_BEYOND_EVERY_RANGE = Decimal("1E+999999")
_FINER_THAN_EVERY_STEP = Decimal("1E-999999")
# Rounds nothing, however many digits a caller sends.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)

# What `has_unusual_numbers` looks for, in two steps: a quick search for what begins like an unusual number,
# and only if it finds something, an exact one. Decimal ignores underscores everywhere.
_BEGINS_UNUSUALLY = re.compile(
    rb"""
    ": [ \t\r\n]*+ "?+ -?+
    (?: [0-9]++ (?:\.[0-9]{1,8}+)?+ [0-9._eE\ ] | [+_.\ ] | [nNiIsS]_*+[aAnN] )
    """,
    re.VERBOSE,
)
_IS_UNUSUAL = re.compile(
    rb"""
    : [ \t\r\n]*+
    (?: " (?! -?[0-9]++ (?:\.[0-9]{1,8})? ")
        (?: [\ _]*+ [-+]? (?= [_.]*+ [0-9]) [0-9_]*+ (?:\.[0-9_]*+)? (?: [eE]_*+ [-+]? [0-9_]*+ )? [\ _]*+ "
          | [\ _]*+ [-+]? [sS_]*+ (?: [nN]_*+[aA]_*+[nN] | [iI]_*+[nN]_*+[fF] )
        )
      | (?! -?[0-9]++ (?:\.[0-9]{1,8})? [,}\]\s] )
        -?[0-9]++ (?:\.[0-9]++)? (?:[eE][-+]?[0-9]++)? [,}\]\s]
    )
    """,
    re.VERBOSE,
)


_ZERO_FRACTION = re.compile(rb'(":[ \t\r\n]*+-?[0-9]++)\.0++(?=[,}\s])')


# A number that JSON has, and that no field takes.
NOT_A_NUMBER = b"1e999999999"
_NO_JSON_NUMBER = re.compile(rb'(":[ \t\r\n]*+)-?(?:NaN|Infinity)(?=[,}\s])')


class NoNumber(float):
    """A number that JSON or a double cannot hold, such as NaN, Infinity or 1e400, with its `text`."""

    text: str

    def __new__(cls, text: str) -> "NoNumber":
        number = super().__new__(cls, text)
        number.text = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
        return number


def has_unusual_numbers(body: bytes) -> bool:
    """Whether an amount in the JSON `body` may be no plain decimal, or one with more than eight decimals.

    So are numbers with an exponent, and strings that Decimal reads although they are no plain decimals, such
    as "1_000", " 12 ", "+1", ".5", "1e3" or "NaN". Never wrong if it says no; a text that looks like such a
    number, or one with an escape, can make it say yes.
    """
    # Blanks and digits exist outside of ASCII too, and any character can be escaped.
    if not body.isascii() or b"\\" in body:
        return True
    return (
        _BEGINS_UNUSUALLY.search(body) is not None or _has_blanks_before_colons(body)
    ) and _IS_UNUSUAL.search(body) is not None


def without_zero_fractions(body: bytes) -> bytes:
    """Returns the JSON `body` with whole numbers such as 1234.0 as 1234, because msgspec takes only that.

    Returns a body without such numbers, or with escapes, itself: only where there are escapes, `":` can stand
    inside of a string.
    """
    if b"\\" in body:
        return body
    shorter, found = _ZERO_FRACTION.subn(rb"\1", body)
    return shorter if found else body


def with_json_numbers(body: bytes) -> bytes:
    """Returns `body` with NOT_A_NUMBER in place of NaN and Infinity, so that its other parts can be read.

    Returns a body without them, or with escapes, itself; see `without_zero_fractions`.
    """
    if b"\\" in body:
        return body
    changed, found = _NO_JSON_NUMBER.subn(rb"\g<1>" + NOT_A_NUMBER, body)
    return changed if found else body


def compact(body: bytes) -> bytes:
    """The JSON `body` without blanks and line breaks, in strings too."""
    # To see that there is none is quicker than to remove them.
    return body.translate(None, _BLANKS) if any(blank in body for blank in _BLANKS) else body


def _has_blanks_before_colons(body: bytes) -> bool:
    smaller = compact(body)
    return smaller is not body and smaller.count(b'":') > body.count(b'":')


def exact(text: str) -> Decimal:
    """Returns the value of a JSON number or a plain decimal, without zeros at the end of its fraction.

    In place of values that no field takes, because they are beyond 10^999999 or finer than 10^-999999, it
    returns another value that no field takes.
    """
    mantissa, _, exponent = text.lower().partition("e")
    if not mantissa.strip("-0."):
        return Decimal(0)
    if len(exponent.lstrip("+-0")) > _MAX_EXPONENT_DIGITS:
        return _FINER_THAN_EVERY_STEP if exponent.startswith("-") else _BEYOND_EVERY_RANGE
    value = _EXACT.normalize(Decimal(text))
    _, digits, power = value.as_tuple()
    if isinstance(power, int) and power > 0 and len(digits) + power <= MAX_WHOLE_DIGITS:
        return value.quantize(Decimal(1), context=_EXACT)
    return value


def plain(value: Decimal) -> str:
    """Returns `value` as plain decimal text: no exponent, no zeros at the end of the fraction, no "-0"."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
