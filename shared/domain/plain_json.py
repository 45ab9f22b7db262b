"""Encodes answers and messages as JSON whose numbers are plain decimals, never in exponent form.

msgspec writes a small amount as Python does, such as "1E-8", and a small or large float such as 1e-08. Then
the value is encoded a second time, with plain numbers. Amounts themselves are stored and read without zeros
at their end, see shared/adapters/postgres/database.py.
"""

import re
from decimal import Decimal
from typing import Any

import msgspec

from shared.domain.numbers import plain

# A whole string, or a number, in exponent form. An id of that form only costs the second encoding.
_EXPONENT = re.compile(rb'[":,\[]-?[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]+[",}\]]')

_encode = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """Returns `value` as JSON; amounts are strings such as "112.5"."""
    encoded = _encode(value)
    if _EXPONENT.search(encoded) is None:
        return encoded
    return _encode(_plain(msgspec.to_builtins(value, builtin_types=(Decimal,))))


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return plain(value)
        case float() if b"e" in _encode(value):
            text = plain(Decimal(repr(value)))
            # With a point, a reader that tells whole numbers from floats reads the same float.
            return msgspec.Raw((text if "." in text else f"{text}.0").encode())
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return value
