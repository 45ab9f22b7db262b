"""Reports what was traded on a day: to each account its own, and to operators the sum."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Protocol

from shared.domain.notifications.events import Event
from shared.domain.notifications.summaries import AccountDay, account_event, total_event, with_trades

PAGE = 500
MAX_PAGES = 200


class Days(Protocol):
    async def of_accounts(
        self, *, after: str, since: datetime, until: datetime, limit: int
    ) -> list[AccountDay]: ...


class Events(Protocol):
    async def add(self, events: Sequence[Event]) -> None: ...


class DailySummary:
    def __init__(self, days: Days, events: Events) -> None:
        self._days = days
        self._events = events

    async def run(self, now: datetime) -> int:
        """Reports the UTC day before `now`; a repetition adds nothing. Returns the number of accounts.

        Raises Unavailable.
        """
        until = datetime.combine(now.astimezone(UTC), time(), UTC)
        since, after = until - timedelta(days=1), ""
        told: list[AccountDay] = []
        for _ in range(MAX_PAGES):
            page = await self._days.of_accounts(after=after, since=since, until=until, limit=PAGE)
            traded = with_trades(page)
            await self._events.add([account_event(each, since.date(), now) for each in traded])
            told += traded
            if len(page) < PAGE:
                break
            after = page[-1].account_id
        await self._events.add([total_event(told, since.date(), now)])
        return len(told)
