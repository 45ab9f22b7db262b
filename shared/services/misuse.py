"""Lists the accounts whose use of their keys stands out, for operators. It blocks nothing."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.misuse import THRESHOLDS, Thresholds, UseFigures, outstanding

MAX_LISTED = 500
MAX_DAYS = 90


class MisuseReader(Protocol):
    async def list(
        self, since: date, thresholds: Thresholds, limit: int
    ) -> Sequence[tuple[str, UseFigures]]: ...


class AccountUse(msgspec.Struct, frozen=True):
    """An account's figures of the days asked for, and the names of those that reach their threshold."""

    account_id: str
    stands_out: list[str]
    figures: UseFigures


class Misuse(msgspec.Struct, frozen=True):
    """Accounts since a day, those with the most figures above their threshold first; and the thresholds."""

    since: date
    thresholds: Thresholds
    accounts: list[AccountUse]


class MisuseService:
    """Reads what the processes have counted."""

    def __init__(self, store: MisuseReader, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def list(self, days: int, limit: int) -> Misuse:
        """At most `limit` accounts, of the last `days` days, today included. Raises Unavailable."""
        since = self._now().date() - timedelta(days=days - 1)
        found = await self._store.list(since, THRESHOLDS, limit)
        accounts = [AccountUse(account, outstanding(figures), figures) for account, figures in found]
        return Misuse(since, THRESHOLDS, accounts)
