"""Collects the bad fields of one request."""

import difflib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from shared.domain.numbers import NoNumber, plain
from shared.errors import FieldCode, FieldError, ValidationFailed

# Enough to correct a request. More would let a hostile request get a megabyte of errors back.
MAX_PROBLEMS = 50
# Finding the nearest name costs more than all else that is done for a field, so only these get one.
MAX_HINTS = 5
_MAX_SHOWN = 40
_MAX_NAME = 64


def _as_text(value: object) -> str:
    """Values that JSON has no form for, as our answers have them; raises TypeError for others."""
    match value:
        case Decimal():
            return plain(value)
        case datetime():
            return value.isoformat()
        case _:
            raise TypeError


_encoder = json.JSONEncoder(default=_as_text)


class Problems:
    """The bad fields found so far, at most `most`; every reader of input reports to it.

    `within` returns a view of the same list for one part of the input, so that a reader of that part uses
    its own field names: `problems.within("bars[3].").add("low", ...)` adds `bars[3].low`.
    """

    __slots__ = ("_found", "_hints", "_most", "_prefix")

    def __init__(
        self,
        prefix: str = "",
        found: list[FieldError] | None = None,
        *,
        most: int = MAX_PROBLEMS,
        hints: int = MAX_HINTS,
    ) -> None:
        self._prefix = prefix
        self._found: list[FieldError] = [] if found is None else found
        self._most = most
        self._hints = hints

    def within(self, prefix: str) -> "Problems":
        return Problems(self._prefix + prefix, self._found, most=self._most, hints=self._hints)

    def add(self, field: str, code: FieldCode, message: str) -> None:
        """Adds a bad field, unless there are `most`. An empty `field` means the part itself."""
        if len(self._found) < self._most:
            name = self._prefix + field if field else self._prefix.rstrip(".")
            self._found.append(FieldError(name, code, message))

    def unknown_field(self, name: str, known: Sequence[str]) -> None:
        """Adds an unknown field; if it is among the first `hints` problems, suggests the nearest name."""
        if self.is_full:
            return
        shown_name = printable(name)
        near = difflib.get_close_matches(shown_name, known, n=1) if len(self) < self._hints else []
        hint = f"did you mean '{near[0]}'?" if near else f"known fields: {', '.join(known)}."
        self.add(shown_name, "unknown_field", f"This field is not known; {hint}")

    def __iter__(self) -> Iterator[FieldError]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def is_full(self) -> bool:
        """Whether further problems would be left out, so that readers can stop."""
        return len(self._found) >= self._most

    def refusal(self, detail: str = "") -> ValidationFailed:
        """The error that names every bad field."""
        return ValidationFailed(tuple(self._found), detail)

    def refuse(self, detail: str = "") -> None:
        """Raises ValidationFailed if there is a bad field."""
        if self._found:
            raise self.refusal(detail)


def printable(name: str) -> str:
    """A caller's field name as short ASCII, written as in JSON. Lone surrogates could not be sent back."""
    return _encoder.encode(name[:_MAX_NAME])[1:-1]


def member(path: str, name: str) -> str:
    """The path of the member `name` of the object at `path`, such as features.rsi."""
    shown_name = printable(name) or '""'
    return f"{path}.{shown_name}" if path else shown_name


def shown(value: object) -> str:
    """`value` as short, printable ASCII for a public message, as JSON writes it."""
    if isinstance(value, NoNumber):
        return value.text
    if isinstance(value, str):
        value = value[:_MAX_SHOWN]
    try:
        # In parts, because a caller's array may have a million items, and the message shows ten.
        text = ""
        for part in _encoder.iterencode(value):
            text += part
            if len(text) > _MAX_SHOWN:
                break
    except (TypeError, ValueError, RecursionError):
        text = "another value"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
