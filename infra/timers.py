"""Reads the app's table of timers: their settings get schedules, and the staging slot turns them off.

The table is a data file, so that the infrastructure imports no code of the app.
"""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

TIMERS_FILE = Path(__file__).resolve().parent.parent / "functions" / "timers.toml"


@dataclass(frozen=True, slots=True)
class Timer:
    """`name` is the trigger's; the app's `setting` holds its schedule, and `schedule` is the default."""

    name: str
    setting: str
    schedule: str
    purpose: str


@functools.cache
def timers() -> tuple[Timer, ...]:
    """Every timer, in the table's order."""
    with TIMERS_FILE.open("rb") as file:
        return tuple(Timer(**entry) for entry in tomllib.load(file)["timer"])
