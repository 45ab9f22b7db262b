"""Computes, in New York time, when a market is open and to which trading day an instant belongs.

The regular week has one session for each trading day from Monday to Friday. It opens at 18:00 New York time
on the evening before and closes at 17:00; from 17:00 to 18:00 is CME's maintenance. Calendars add the
exceptions: days without a session and early closes. If trading halts early and reopens in the evening, that
day has a short session, and the next session begins in the evening.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from shared.domain.market.instruments import INSTRUMENTS, Instrument

NEW_YORK = ZoneInfo("America/New_York")
OPENS = time(18, 0)
CLOSES = time(17, 0)

# Longer than any weekend with holidays on both sides.
LONGEST_BREAK = timedelta(days=8)

_SATURDAY = 5
# Longer than any closure of a market, and short enough that a calendar's end is found at once.
_SEARCHED_DAYS = 14
# A few weeks of sessions for each of a few markets. Replays go forward, so old ones are not needed again.
_KEPT_SESSIONS = 256


class Calendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The exceptions to the regular week in one market, from the `first` to the `last` trading day.

    `closed` holds the days without a session, `early_closes` the New York time of each early close.
    `source` names the source of these facts.
    """

    source: str
    first: date
    last: date
    closed: frozenset[date]
    early_closes: dict[date, time]


class TradingSession(msgspec.Struct, frozen=True):
    """One session: it is open from `opens_at` to just before `closes_at`, both in UTC."""

    trading_day: date
    opens_at: datetime
    closes_at: datetime

    def is_open(self, instant: datetime) -> bool:
        return self.opens_at <= instant < self.closes_at


class MarketCalendars:
    """Computes the sessions of every instrument from the calendar of its market.

    Outside the days that a calendar covers, a market counts as closed, so that no signal rests on a guess.
    """

    def __init__(
        self, calendars: Mapping[str, Calendar], instruments: Mapping[str, Instrument] = INSTRUMENTS
    ) -> None:
        """Raises KeyError if an instrument's market has no calendar."""
        self._calendar_of = {symbol: calendars[item.market] for symbol, item in instruments.items()}
        self._session = lru_cache(maxsize=_KEPT_SESSIONS)(self._compute)

    def session_at(self, symbol: str, instant: datetime) -> TradingSession | None:
        """The session that is open at `instant` (aware), None if the market is closed or unknown."""
        session = self.session_of(symbol, trading_day_of(instant))
        return session if session is not None and session.is_open(instant) else None

    def session_of(self, symbol: str, trading_day: date) -> TradingSession | None:
        """The session of a trading day; None on a weekend or holiday, and for an unknown symbol."""
        return self._session(symbol, trading_day)

    def session_before(self, symbol: str, instant: datetime) -> TradingSession | None:
        """The last session that opened before `instant`; None if there was none in LONGEST_BREAK."""
        day = trading_day_of(instant)
        for days in range(LONGEST_BREAK.days):
            session = self.session_of(symbol, day - timedelta(days=days))
            if session is not None and session.opens_at < instant:
                return session
        return None

    def is_open(self, symbol: str, instant: datetime) -> bool:
        return self.session_at(symbol, instant) is not None

    def next_open(self, symbol: str, instant: datetime) -> datetime | None:
        """When the first session after `instant` (aware) opens; None if none does within two weeks."""
        today = trading_day_of(instant)
        for days in range(_SEARCHED_DAYS):
            session = self.session_of(symbol, today + timedelta(days=days))
            if session is not None and session.opens_at > instant:
                return session.opens_at
        return None

    def days_left(self, today: date) -> int:
        """The days until the first calendar ends; at 0 or below, the calendars must be generated again."""
        return min((calendar.last - today).days for calendar in self._calendar_of.values())

    def _compute(self, symbol: str, day: date) -> TradingSession | None:
        calendar = self._calendar_of.get(symbol)
        if calendar is None or day.weekday() >= _SATURDAY or day in calendar.closed:
            return None
        if not calendar.first <= day <= calendar.last:
            return None
        closes = calendar.early_closes.get(day, CLOSES)
        return TradingSession(
            trading_day=day,
            opens_at=_utc(day - timedelta(days=1), OPENS),
            closes_at=_utc(day, closes),
        )


def trading_day_of(instant: datetime) -> date:
    """The trading day by the clock alone: at 18:00 New York time the next one begins."""
    local = instant.astimezone(NEW_YORK)
    return local.date() + timedelta(days=1) if local.time() >= OPENS else local.date()


def hour_of(instant: datetime) -> int:
    """The hour in New York, 0 to 23."""
    return instant.astimezone(NEW_YORK).hour


def _utc(day: date, local: time) -> datetime:
    return datetime.combine(day, local, NEW_YORK).astimezone(UTC)
