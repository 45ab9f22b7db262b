"""Writes durations and times for people, in messages that say by how much something is late."""

from datetime import UTC, datetime, timedelta

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def shown_duration(duration: timedelta) -> str:
    """The size of `duration` in its two largest units, such as `2 days 3 h`, `4 min 10 s` or `12 s`."""
    seconds = int(abs(duration).total_seconds())
    days, hours, minutes = seconds // _DAY, seconds % _DAY // _HOUR, seconds % _HOUR // _MINUTE
    parts = [
        f"{days} day{'s' if days > 1 else ''}" if days else "",
        f"{hours} h" if hours else "",
        f"{minutes} min" if minutes else "",
        f"{seconds % _MINUTE} s" if seconds % _MINUTE else "",
    ]
    first = next((place for place, part in enumerate(parts) if part), None)
    if first is None:
        return "less than a second"
    return " ".join(part for part in parts[first : first + 2] if part)


def shown_time(instant: datetime) -> str:
    """`instant` (aware) in UTC to the second, such as 2026-11-29T23:00:00Z."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
