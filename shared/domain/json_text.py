"""Explains why bytes are not the JSON that we accept, and finds names that an object gives twice.

Runs only after the fast decoder has refused a body, or when a count says that a name may stand twice. No
message contains a library's own text, because that may change with any release.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from shared.domain.numbers import NoNumber
from shared.domain.problems import MAX_PROBLEMS, member
from shared.errors import FieldError, InvalidInput, MalformedJson, ValidationFailed

# More than any good body has: 5,000 bars have 30,000 fields.
MAX_PARTS = 40_000
# A double holds every whole number with fewer digits, if not exactly.
_MAX_INT_DIGITS = 300
_BLANKS = " \t\r\n"
_GZIP = b"\x1f\x8b"  # RFC 1952, section 2.3.1
_TOO_DEEP = "The body is not valid JSON: it is nested too deeply."


class _RepeatedNameError(Exception):
    """An object gives a name twice."""


class _Object(list[tuple[str, Any]]):
    """The names and values of an object, as they were sent."""


def has_more_parts(body: bytes, most: int) -> bool:
    """Whether the body has more than `most` fields and items; counts commas, so it is fast, and inexact."""
    return body.count(b",") > most


def parsed(body: bytes, within: str = "") -> Any:
    """The value in `body`, with a NoNumber in place of each number that JSON or a double cannot hold.

    Raises MalformedJson, which says where the body is no JSON, or which name an object gives twice. `within`
    is the path of the body in the request, such as trades[0].
    """
    return _with_names_once(_VALUES, body, within)


def unreadable(body: bytes, within: str = "") -> InvalidInput:
    """The error for a body that the fast decoder cannot read; it names the fields of NaN and its like."""
    if has_more_parts(body, MAX_PARTS):
        return MalformedJson("The body is not valid JSON, and has far more fields or items than a valid one.")
    try:
        value = parsed(body, within)
    except InvalidInput as refused:
        return refused
    errors = (
        FieldError(path, "out_of_range", f"Expected a finite number, got {number.text}.")
        for path, number in _found(value, within)
        if isinstance(number, NoNumber)
    )
    named = tuple(islice(errors, MAX_PROBLEMS))
    if named:
        return ValidationFailed(named)
    return MalformedJson(r"The body is not valid JSON: a text has half of a character, such as \ud83d alone.")


def refuse_repeated_names(body: bytes, within: str = "") -> None:
    """Raises MalformedJson with the path of the first name that stands twice in one object.

    Names are equal if they are equal after unescaping.
    """
    _with_names_once(_NAMES, body, within)


def _with_names_once(decoder: json.JSONDecoder, body: bytes, within: str) -> Any:
    text = _text(body)
    try:
        return _read(decoder, text)
    except _RepeatedNameError:
        raise _repeated(_read(_PAIRS, text), within) from None


def _repeated(pairs: Any, within: str) -> MalformedJson:
    for path, value in _found(pairs, within):
        if isinstance(value, _Object):
            counts = Counter(name for name, _ in value)
            for name, count in counts.items():
                if count > 1:
                    field = member(path, name)
                    message = "This name stands more than once in its object; send it once."
                    return MalformedJson(
                        f"The body gives {field} more than once. Send each name of an object once.",
                        errors=(FieldError(field, "repeated_field", message),),
                    )
    raise AssertionError("the names of every object differ")


def _found(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value in `value` with its path, in the order of the text."""
    # A stack of our own, because Python's is too small for a deep body.
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        inner: list[tuple[str, Any]] = []
        if isinstance(value, _Object):
            inner = [(member(path, name), each) for name, each in value]
        elif isinstance(value, dict):
            inner = [(member(path, name), each) for name, each in value.items()]
        elif isinstance(value, list):
            inner = [(f"{path}[{index}]", each) for index, each in enumerate(value)]
        waiting.extend(reversed(inner))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        if body.startswith(_GZIP):
            raise MalformedJson(
                "The body is not UTF-8 and looks like gzip: add the header Content-Encoding: gzip, or send "
                "plain JSON."
            ) from None
        raise MalformedJson(
            f"The body is not UTF-8: the byte at position {error.start} begins no character. Send UTF-8."
        ) from None


def _read(decoder: json.JSONDecoder, text: str) -> Any:
    start = len(text) - len(text.lstrip(_BLANKS))
    if start == len(text):
        raise MalformedJson("The body is empty; send JSON.")
    try:
        value, end = decoder.raw_decode(text, start)
    except RecursionError:
        raise MalformedJson(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise _misplaced(text, error.pos, _expected(text, error.pos)) from None
    rest = len(text) - len(text[end:].lstrip(_BLANKS))
    if rest < len(text):
        raise _misplaced(text, rest, "nothing more after the JSON value")
    return value


def _misplaced(text: str, at: int, expected: str) -> MalformedJson:
    before = text[:at]
    place = f"line {before.count('\n') + 1}, column {at - before.rfind('\n')}"
    return MalformedJson(
        f"The body is not valid JSON: expected {expected}, found {_character(text, at)} at byte "
        f"{len(before.encode())} ({place})."
    )


def _character(text: str, at: int) -> str:
    if at >= len(text):
        return "the end of the body"
    character = text[at]
    match character:
        case "\0":
            return "a NUL byte"
        case '"':
            return "a quotation mark"
        case _ if " " < character <= "~":
            return f'"{character}"'
        case _:
            return f"the character U+{ord(character):04X}"


def _expected(text: str, at: int) -> str:
    """What could stand at `at`, where the parser stopped; the last character before it decides."""
    before, found = text[:at].rstrip(_BLANKS)[-1:], text[at : at + 1]
    begins_value = before in ("", "{", "[", ":", ",")
    if found == '"' and begins_value:
        return "a quotation mark at the end of the string"
    if found == "\\" or (found and found < " "):
        return r"text, or an escape such as \n or \u000a"
    if found == "," and not begins_value:
        return "something after the comma"
    return _AFTER.get(before, "a comma, a colon or a closing bracket")


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise _RepeatedNameError
    return named


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else NoNumber(text)


def _whole(text: str) -> float:
    return int(text) if len(text) <= _MAX_INT_DIGITS else NoNumber(text)


_AFTER = {
    "": "a JSON value",
    "{": "a name in quotation marks, or }",
    "[": "a value, or ]",
    ":": "a value",
    ",": "a value, or in an object a name in quotation marks",
}
_VALUES = json.JSONDecoder(
    object_pairs_hook=_named_once, parse_float=_number, parse_int=_whole, parse_constant=NoNumber
)
# For names alone; numbers stay text, because that is fast and never fails.
_NAMES = json.JSONDecoder(object_pairs_hook=_named_once, parse_float=str, parse_int=str, parse_constant=str)
_PAIRS = json.JSONDecoder(object_pairs_hook=_Object, parse_float=str, parse_int=str, parse_constant=str)
