"""Reads the table of timers, functions/timers.toml."""

import tomllib
from pathlib import Path

import msgspec

TABLE = Path(__file__).with_name("timers.toml")


class Timer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One timer: its function, the setting of its schedule, the default schedule, and its purpose."""

    name: str
    setting: str
    schedule: str
    purpose: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    timer: tuple[Timer, ...]


TIMERS = msgspec.convert(tomllib.loads(TABLE.read_text("utf-8")), _Table).timer
