"""Decodes JSON bodies into structs in one pass.

A second, slower pass (shared/domain/close_reading.py) reads the bodies that the first refuses, or in which an
amount may be spelled unusually. So the value of a number decides, not its spelling, and every bad field is
named. A third reads the names alone, if the count of names says that one may stand twice.
"""

from typing import Any

import msgspec

from shared.domain.close_reading import reader_of
from shared.domain.json_text import MAX_PARTS, has_more_parts, refuse_repeated_names, unreadable
from shared.domain.numbers import compact, without_zero_fractions
from shared.domain.problems import Problems

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BLANKS = b" \t\r\n"


def decode[T](body: bytes, kind: type[T], *, within: str = "") -> T:
    """Returns `body` as `kind`; `within` is the path of the body in the request, such as trades[0].

    Raises MalformedJson for what is no JSON or gives a name twice, and ValidationFailed with every bad field.
    """
    decoded = decode_quickly(body, kind, within=within)
    return _read_closely(body, kind, within) if decoded is None else decoded


def decode_quickly[T](body: bytes, kind: type[T], *, within: str = "") -> T | None:
    """As `decode`, but returns None for a body that must be read closely, because a field may be bad."""
    struct: Any = kind
    reader = reader_of(struct)
    try:
        decoded = reader.read_quickly(body, may_be_unusual=True)
        if decoded is None:
            shorter = without_zero_fractions(body)
            decoded = None if shorter is body else reader.read_quickly(shorter, may_be_unusual=True)
    except UNREADABLE:
        raise unreadable(body, within) from None
    if decoded is not None and may_repeat_names(body, reader.names_in(decoded)):
        refuse_repeated_names(body, within)
    found: T | None = decoded
    return found


def may_repeat_names(body: bytes, names: int) -> bool:
    """Whether an object in `body` may give a name twice, if the decoded value has at least `names` names.

    Counts quotation marks before colons, which end names, or stand in a string: never wrong if it says no.
    """
    return compact(body).count(b'":') > names


def _read_closely[T](body: bytes, kind: type[T], within: str) -> T:
    problems = Problems()
    if has_more_parts(body, MAX_PARTS):
        message = "The body has far more fields or items than a valid one can have."
        problems.add(within, "out_of_range", message)
        raise problems.refusal()
    struct: Any = kind
    reader = reader_of(struct)
    try:
        value: T = reader.read(body.strip(_BLANKS), problems, within)
    except UNREADABLE:
        raise unreadable(body, within) from None
    problems.refuse()
    if may_repeat_names(body, reader.names_in(value)):
        refuse_repeated_names(body, within)
    return value
