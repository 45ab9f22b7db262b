"""Reads single values of alerts: words, symbols, numbers, times, as platforms and people write them.

Each function returns the value, or what is wrong with it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.domain.faults import Fault
from shared.domain.market.alert_mapping import Action, AlertMapping, folded
from shared.domain.market.bars import SYMBOL_PATTERN
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.symbols import SMALLER_CONTRACTS, symbol_fault
from shared.domain.numbers import JSON_NUMBER, NoNumber, exact
from shared.domain.problems import MAX_HINTS, shown

MAX_ID = 64
_MAX_NUMBER = 40
_GROUPED = re.compile(r"[-+]?[0-9]{1,3}([,' \u00a0\u202f.][0-9]{3})+([.,][0-9]+)?|[-+]?[0-9]+,[0-9]+")
_NO_VALUE = frozenset(("", "na", "nan", "null", "none", "n/a"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds from 2001 to 5138, and the same as milliseconds: no number can be both.
_SECONDS = (Decimal(10**9), Decimal(10**11))
_MILLISECONDS = (Decimal(10**12), Decimal(10**14))
# ES1!, ESZ5, ESZ2025, /ES, @ES, ES=F: the series of the leading contract, or one contract with its year.
_OF_ROOT = re.compile(
    rf"[/@]?(?P<name>{'|'.join((*INSTRUMENTS, *SMALLER_CONTRACTS))})"
    r"(?:1!|=F|[FGHJKMNQUVXZ](?:[0-9]{1,2}|20[0-9]{2}))?",
    re.ASCII,
)
_EXCHANGE = re.compile(r"[A-Z0-9_]{1,16}:", re.ASCII)
_SYMBOL = re.compile(SYMBOL_PATTERN)


def action_of(value: Any, words: Mapping[str, Action], *, is_action: bool) -> Action | Fault:
    """What a word means, as an action or as a position."""
    if not isinstance(value, str):
        return "wrong_type", f"Expected a word, got {shown(value)}."
    found = words.get(folded(value))
    if found is None or not (is_action or found in ("long", "short", "flat")):
        meant = [word for word, each in words.items() if is_action or each in ("long", "short", "flat")]
        listed = ", ".join(word.replace("_", " ") for word in meant[: 2 * MAX_HINTS])
        return "unknown_value", f"Expected a word such as {listed}, got {shown(value)}."
    return found


def symbol_of(value: Any, mapping: AlertMapping) -> str | Fault:
    """Our symbol for the sender's: as the mapping says, by its root, or as it is."""
    if not isinstance(value, str):
        return "wrong_type", f"Expected a symbol such as ES1!, got {shown(value)}."
    text = value.strip().upper()
    bare = _EXCHANGE.sub("", text, count=1) if len(text) <= _MAX_NUMBER else text
    ours = {name.upper(): symbol for name, symbol in mapping.symbols.items()}
    for name in (text, bare):
        if name in ours:
            return ours[name]
    found = _OF_ROOT.fullmatch(bare) if mapping.by_root else None
    if found is not None and found["name"] in INSTRUMENTS:
        return found["name"]
    if found is not None:
        root = SMALLER_CONTRACTS[found["name"]]
        message = f"{shown(value)} is a smaller contract than {root}. If its alerts are meant for {root}, "
        return "unknown_value", f"{message}name it under symbols of the hook's mapping."
    if found is None and _SYMBOL.fullmatch(bare):
        return bare
    return "unknown_value", f"{symbol_fault(value.strip())} The hook's mapping can name it under symbols."


def number_of(value: Any) -> Decimal | Fault:
    """A number, also as text; thousands separators are refused, because they can be read in two ways."""
    if isinstance(value, NoNumber):
        return "out_of_range", f"Expected a finite number, got {shown(value)}."
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return "wrong_type", f"Expected a number, got {shown(value)}."
    return _number_in(str(value).strip())


def _number_in(text: str) -> Decimal | Fault:
    if len(text) <= _MAX_NUMBER and JSON_NUMBER.fullmatch(text.removeprefix("+")):
        return exact(text.removeprefix("+"))
    if text.lower() in _NO_VALUE:
        return "out_of_range", f"Expected a number, got {shown(text)}: the sender had no value for it."
    if len(text) <= _MAX_NUMBER and _GROUPED.fullmatch(text):
        message = f"Expected a number with a dot and no thousands separators, got {shown(text)}."
        return "invalid_format", message
    return "invalid_format", f"Expected a number such as 5012.25, got {shown(text)}."


def time_of(value: Any) -> datetime | Fault:
    """A time in UTC: ISO 8601 with a zone, or seconds or milliseconds since 1970."""
    if not isinstance(value, str | int | float) or isinstance(value, bool | NoNumber):
        return "wrong_type", f"Expected a time such as 2025-10-13T13:30:00Z, got {shown(value)}."
    text = str(value).strip()
    if len(text) > _MAX_NUMBER:
        return "invalid_format", f"Expected a time such as 2025-10-13T13:30:00Z, got {shown(text)}."
    if JSON_NUMBER.fullmatch(text):
        return _time_of_epoch(exact(text), text)
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            return "invalid_format", f"The time {shown(text)} has no zone: add Z for UTC."
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        return "invalid_format", f"Expected a time such as 2025-10-13T13:30:00Z, got {shown(text)}."


def _time_of_epoch(number: Decimal, text: str) -> datetime | Fault:
    if _SECONDS[0] <= number < _SECONDS[1]:
        return _EPOCH + timedelta(microseconds=int(number * 1_000_000))
    if _MILLISECONDS[0] <= number < _MILLISECONDS[1]:
        return _EPOCH + timedelta(microseconds=int(number * 1_000))
    return "out_of_range", f"Expected seconds or milliseconds since 1970, got {shown(text)}."


def id_of(value: Any) -> str | Fault:
    """The sender's name of the alert."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text or len(text) > MAX_ID or not text.isprintable():
        return "invalid_format", f"Expected 1 to {MAX_ID} printable characters, got {shown(value)}."
    return text
