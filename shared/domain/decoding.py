"""Decodes JSON bodies into structs in one pass.

A second, slower pass (shared/domain/close_reading.py) reads the bodies that the first refuses, or in which an
amount may be spelled unusually. So the value of a number decides, not its spelling, and every bad field is
named. A third reads the names alone, if the count of names says that one may stand twice.
"""

from typing import Any

import msgspec

from shared.domain.close_reading import Reader, reader_of
from shared.domain.json_text import MAX_PARTS, has_more_parts, refuse_repeated_names, unreadable
from shared.domain.numbers import compact, has_unusual_numbers, without_zero_fractions
from shared.domain.problems import Problems

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BLANKS = b" \t\r\n"


def decode[T](body: bytes, kind: type[T], *, within: str = "") -> T:
    """Returns `body` as `kind`; `within` is the path of the body in the request, such as trades[0].

    Raises MalformedJson for what is no JSON or gives a name twice, and ValidationFailed with every bad field.
    """
    struct: Any = kind
    reader = reader_of(struct)
    try:
        decoded: T = _decoded(body, reader)
    except msgspec.ValidationError:
        decoded = _read_closely(body, reader, within)
    except _UNREADABLE:
        raise unreadable(body, within) from None
    else:
        if reader.holds_amounts and has_unusual_numbers(body):
            decoded = _read_closely(body, reader, within)
    if may_repeat_names(body, reader.names_in(decoded)):
        refuse_repeated_names(body, within)
    return decoded


def _decoded(body: bytes, reader: Reader) -> Any:
    try:
        return reader.decoder.decode(body)
    except msgspec.ValidationError:
        shorter = without_zero_fractions(body)
        if shorter == body:
            raise
        return reader.decoder.decode(shorter)


def may_repeat_names(body: bytes, names: int) -> bool:
    """Whether an object in `body` may give a name twice, if the decoded value has at least `names` names.

    Counts quotation marks before colons, which end names, or stand in a string: never wrong if it says no.
    """
    return compact(body).count(b'":') > names


def _read_closely(body: bytes, reader: Reader, within: str) -> Any:
    problems = Problems()
    if has_more_parts(body, MAX_PARTS):
        message = "The body has far more fields or items than a valid one can have."
        problems.add(within, "out_of_range", message)
        raise problems.refusal()
    try:
        value = reader.read(body.strip(_BLANKS), problems, within)
    except _UNREADABLE:
        raise unreadable(body, within) from None
    problems.refuse()
    return value
