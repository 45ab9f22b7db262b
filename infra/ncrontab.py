"""Reads when a timer fires: NCRONTAB expressions of six fields, and constant intervals, all in UTC.

The one reader of the project: settings check schedules by it, costs count runs by it, and the local host runs
timers by it. It needs nothing but the standard library, because infra/ imports no app code.

croniter does not fit. It joins day-of-month and day-of-week by OR where NCRONTAB wants both, wraps
`5-1` around where NCRONTAB swaps it, takes 7 for Sunday and extensions that Azure refuses, and knows
names by three letters only where NCRONTAB takes any prefix. A schedule that works here must mean the
same on Azure, so the dialect is parsed as https://github.com/atifaziz/NCrontab defines it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

# A 29 February can fall on a given weekday after 40 years at most (across 2100), so a date that is
# not found by then does not exist.
_SEARCH_DAYS = 41 * 366
_ONE_SECOND = timedelta(seconds=1)

_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


class Schedule(Protocol):
    def next_after(self, moment: datetime) -> datetime | None:
        """The first firing later than `moment` (aware, UTC); None if there is none."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    value_names: tuple[str, ...] = ()

    def parse(self, text: str) -> tuple[int, ...]:
        values: set[int] = set()
        for part in text.split(","):
            body, slash, step_text = part.partition("/")
            # NCrontab takes a step of 0 for 1.
            step = max(1, self._number(step_text)) if slash else 1
            first_text, dash, last_text = body.partition("-")
            if body == "*":
                first, last = self.low, self.high
            elif dash:
                first, last = sorted((self._value(first_text), self._value(last_text)))
            else:
                first = self._value(body)
                last = self.high if slash else first
            values.update(range(first, last + 1, step))
        return tuple(sorted(values))

    def _number(self, text: str) -> int:
        if not text.isascii() or not text.isdigit():
            raise ValueError(f"{text!r} is not a number ({self.name})")
        return int(text)

    def _value(self, text: str) -> int:
        if self.value_names and text[:1].isalpha():
            for index, name in enumerate(self.value_names):
                if name.startswith(text.lower()):
                    return index + self.low
            raise ValueError(f"{text!r} is not the name of a {self.name}")
        value = self._number(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is outside {self.low} to {self.high} ({self.name})")
        return value


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """Fires when every field matches; each field holds its values in ascending order."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @property
    def runs_a_day(self) -> int:
        """Runs on each day that the fields of days allow."""
        return len(self.seconds) * len(self.minutes) * len(self.hours)

    def next_after(self, moment: datetime) -> datetime | None:
        start = moment.astimezone(UTC).replace(microsecond=0) + _ONE_SECOND
        day, earliest = start.date(), start.time()
        for _ in range(_SEARCH_DAYS):
            if self._has_day(day):
                found = self._time_from(earliest)
                if found is not None:
                    return datetime.combine(day, found, UTC)
            day, earliest = day + timedelta(days=1), time.min
        return None

    def _has_day(self, day: date) -> bool:
        return day.day in self.days and day.month in self.months and day.isoweekday() % 7 in self.weekdays

    def _time_from(self, earliest: time) -> time | None:
        for hour in self.hours:
            if hour > earliest.hour:
                return time(hour, self.minutes[0], self.seconds[0])
            if hour < earliest.hour:
                continue
            for minute in self.minutes:
                if minute > earliest.minute:
                    return time(hour, minute, self.seconds[0])
                if minute < earliest.minute:
                    continue
                for second in self.seconds:
                    if second >= earliest.second:
                        return time(hour, minute, second)
        return None


@dataclass(frozen=True, slots=True)
class ConstantSchedule:
    """Fires a fixed time after the start of the run before."""

    interval: timedelta

    def next_after(self, moment: datetime) -> datetime:
        return moment + self.interval


# .NET's TimeSpan: days alone, or [d.]hh:mm[:ss[.fraction]]; d:hh:mm:ss is brought into that shape.
_DAYS_ALONE = re.compile(r"[0-9]{1,8}")
_TIME_SPAN = re.compile(r"(?:(\d{1,8})\.)?(\d{1,8}):(\d{1,8})(?::(\d{1,8})(?:\.(\d{1,7}))?)?", re.ASCII)


def parse_time_span(text: str) -> timedelta:
    """A positive .NET TimeSpan as Azure reads it; raises ValueError.

    Mind `24:00:00`: hours end at 23, so three parts that begin with 24 or more are days, hours and
    minutes, here 24 days.
    """
    text = text.strip()
    if _DAYS_ALONE.fullmatch(text):
        return _positive(timedelta(days=int(text)), text)
    shaped = text
    parts = text.split(":")
    if len(parts) == 4 or (len(parts) == 3 and parts[0].isdigit() and int(parts[0]) > 23):
        shaped = text.replace(":", ".", 1)
    match = _TIME_SPAN.fullmatch(shaped)
    if match is None:
        raise ValueError(f"{text!r} is not a time span such as 00:05:00")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{text!r} has a part out of range; hours end at 23, minutes and seconds at 59")
    microseconds = int((match[5] or "").ljust(7, "0")) // 10
    return _positive(
        timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=microseconds), text
    )


def _positive(span: timedelta, text: str) -> timedelta:
    if span <= timedelta():
        raise ValueError(f"{text!r} must be longer than nothing")
    return span


def parse_schedule(expression: str) -> Schedule:
    """A timer's schedule expression, settings already resolved; raises ValueError with the reason."""
    parts = expression.split()
    if len(parts) == 1:
        return ConstantSchedule(parse_time_span(expression))
    if len(parts) != len(_FIELDS):
        raise ValueError(
            f"{expression!r} has {len(parts)} fields; NCRONTAB has six: second minute hour day month weekday"
        )
    try:
        return CronSchedule(*(field.parse(part) for field, part in zip(_FIELDS, parts, strict=True)))
    except ValueError as error:
        raise ValueError(f"{expression!r}: {error}") from None
