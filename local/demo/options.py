"""Reads the options of `make run` about its replay, from variables such as BARS and SPEED."""

import math
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from local.demo.bar_files.formats import Stamp
from shared.domain.market.bars import Source
from shared.settings_reader import SettingsReader

BUNDLED_BARS = Path(__file__).resolve().parent / "bars" / "es_simulated.csv.gz"
# Ten minutes of trading a second: there is soon something to see, and it is slow enough to watch.
DEFAULT_SPEED = 600.0
MAX_SPEED = 1_000_000


@dataclass(frozen=True)
class ReplayOptions:
    """`start` is inclusive, `end` exclusive, both aware; `exits` ends the stack after the summary.

    `zone` (IANA) and `stamp` say what the times of the file mean; None leaves that to its format.
    """

    bars: Path
    source: Source
    speed: float
    start: datetime | None
    end: datetime | None
    exits: bool
    zone: str | None = None
    stamp: Stamp | None = None

    @property
    def label(self) -> str:
        """The file's name; simulated bars are called so everywhere that they are shown."""
        return f"{self.bars.name}{' (SIMULATED)' if self.source == 'simulated' else ''}"


def read_replay_options(reader: SettingsReader) -> ReplayOptions:
    bars = Path(reader.optional("BARS") or BUNDLED_BARS).resolve()
    if not bars.is_file():
        reader.report("BARS must be a file of bars")
    return ReplayOptions(
        bars=bars,
        source="simulated" if bars == BUNDLED_BARS else "replay",
        speed=_speed(reader),
        start=_time(reader, "FROM"),
        end=_time(reader, "TO"),
        exits=reader.optional("EXIT") not in ("", "0"),
        zone=_zone(reader),
        stamp=_stamp(reader),
    )


def _speed(reader: SettingsReader) -> float:
    try:
        speed = float(reader.optional("SPEED") or DEFAULT_SPEED)
    except ValueError:
        speed = math.nan
    if not 0 < speed <= MAX_SPEED:
        reader.report(f"SPEED must be a number over 0 and up to {MAX_SPEED}, a multiple of real time")
        return DEFAULT_SPEED
    return speed


def _zone(reader: SettingsReader) -> str | None:
    value = reader.optional("ZONE")
    if not value or value in zoneinfo.available_timezones():
        return value or None
    reader.report("ZONE must be a zone of the IANA database, such as America/New_York")
    return None


def _stamp(reader: SettingsReader) -> Stamp | None:
    match reader.optional("STAMP"):
        case "":
            return None
        case "start" | "end" as stamp:
            return stamp
        case _:
            reader.report("STAMP must be start or end: which end of its minute a time of the file is")
            return None


def _time(reader: SettingsReader, name: str) -> datetime | None:
    """An ISO 8601 date or time; UTC if it names no offset."""
    value = reader.optional(name)
    try:
        parsed = datetime.fromisoformat(value) if value else None
    except ValueError:
        reader.report(f"{name} must be an ISO 8601 date or time, such as 2025-10-13 (UTC)")
        return None
    return parsed.replace(tzinfo=UTC) if parsed and not parsed.tzinfo else parsed
