"""What `make run` and `make up` can be told, read from the environment."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from shared.domain.market.bars import Source
from shared.services.licenses import MAX_KEYS_AT_ONCE

DEFAULT_PORT = 7071
DEFAULT_STATE = ".local"
# Ten minutes of trading a second: soon something to see, and slow enough to watch.
DEFAULT_SPEED = 600.0
BUNDLED_BARS = Path(__file__).resolve().parent / "bars" / "es_simulated.csv.gz"

Mode = Literal["run", "up"]


class BadOption(Exception):
    """A variable has a value that cannot be used; the text names both."""


@dataclass(frozen=True)
class StackOptions:
    """`load_keys` bot keys are made beside the demo keys."""

    mode: Mode
    state: Path
    port: int
    workers: int
    load_keys: int
    market_clock: str


@dataclass(frozen=True)
class JobOptions:
    """`start` inclusive and `end` exclusive, aware; `leave` ends the stack after the summary."""

    bars: Path
    source: Source
    speed: float
    start: datetime | None
    end: datetime | None
    leave: bool

    @property
    def label(self) -> str:
        """Simulated bars say so wherever they show."""
        return f"{self.bars.name}{' (SIMULATED)' if self.source == 'simulated' else ''}"


def state_directory(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("STATE", "").strip() or DEFAULT_STATE).resolve()


def stack_options(mode: Mode, environment: Mapping[str, str]) -> StackOptions:
    """Raises BadOption."""
    clock = environment.get("MARKET_CLOCK", "").strip() or ("bars" if mode == "run" else "wall")
    if clock not in ("wall", "bars"):
        raise BadOption(f"MARKET_CLOCK={clock} must be wall or bars")
    return StackOptions(
        mode=mode,
        state=state_directory(environment),
        port=_whole(environment, "PORT", DEFAULT_PORT, 1, 65535),
        workers=_whole(environment, "WORKERS", 1, 1, 64),
        load_keys=_whole(environment, "LOAD_KEYS", 0, 0, MAX_KEYS_AT_ONCE),
        market_clock=clock,
    )


def job_options(environment: Mapping[str, str]) -> JobOptions:
    """Raises BadOption."""
    bars = Path(environment.get("BARS", "").strip() or BUNDLED_BARS).resolve()
    if not bars.is_file():
        raise BadOption(f"BARS={bars} is not a file")
    return JobOptions(
        bars=bars,
        source="simulated" if bars == BUNDLED_BARS else "replay",
        speed=_speed(environment),
        start=_instant(environment, "FROM"),
        end=_instant(environment, "TO"),
        leave=environment.get("EXIT", "").strip() not in ("", "0"),
    )


def _whole(environment: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    raw = environment.get(name, "").strip() or str(default)
    if not (raw.isascii() and raw.isdigit() and low <= int(raw) <= high):
        raise BadOption(f"{name}={raw} must be a whole number from {low} to {high}")
    return int(raw)


def _speed(environment: Mapping[str, str]) -> float:
    raw = environment.get("SPEED", "").strip() or str(DEFAULT_SPEED)
    with contextlib.suppress(ValueError):
        if 0 < float(raw) <= 1_000_000:
            return float(raw)
    raise BadOption(f"SPEED={raw} must be a number over 0 and up to 1000000, a multiple of real time")


def _instant(environment: Mapping[str, str], name: str) -> datetime | None:
    """An ISO 8601 date or time; UTC where it names no offset."""
    raw = environment.get(name, "").strip()
    if not raw:
        return None
    try:
        parsed = datetime.fromisoformat(raw)
    except ValueError:
        raise BadOption(f"{name}={raw} must be an ISO 8601 date or time, such as 2025-10-13 (UTC)") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
