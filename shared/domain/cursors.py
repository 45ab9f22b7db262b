"""Writes the place where a page ends as an opaque text, and reads it again."""

import base64
import binascii

import msgspec

from shared.errors import FieldError, ValidationFailed


def cursor_of(place: object) -> str:
    """The `next_cursor` of a page that ends at `place`, a value that JSON can have."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def place_in[T](cursor: str, kind: type[T]) -> T:
    """The place that `cursor_of` wrote; raises ValidationFailed for any other text."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()), type=kind)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise bad_cursor() from error


def bad_cursor() -> ValidationFailed:
    """The refusal of a cursor that no answer had."""
    message = "Expected the next_cursor of an earlier answer, unchanged."
    return ValidationFailed((FieldError("cursor", "invalid_format", message),))
