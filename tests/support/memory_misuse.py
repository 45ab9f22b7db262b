"""The tables of misuse in memory, with the same rules as their SQL; suspicious trades are not in it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from shared.domain.access.misuse import Thresholds, UseFigures, outstanding
from shared.errors import DatabaseUnavailable
from shared.services.misuse_counts import SeenAddress, UseCounts


@dataclass
class MemoryMisuse:
    """`is_away` makes it fail."""

    is_away: Callable[[], bool] = lambda: False
    days: dict[tuple[str, date], UseCounts] = field(default_factory=dict)
    addresses: set[SeenAddress] = field(default_factory=set)

    def _answer(self) -> None:
        if self.is_away():
            raise DatabaseUnavailable("The database cannot be reached.", internal="refused")

    async def add(
        self, day: date, counts: Sequence[tuple[str, UseCounts]], addresses: Sequence[SeenAddress]
    ) -> None:
        self._answer()
        for account_id, added in counts:
            stored = self.days.setdefault((account_id, day), UseCounts())
            for name in (
                "requests",
                "limited",
                "sessions_refused",
                "sessions_taken_over",
                "sessions_replaced",
            ):
                setattr(stored, name, getattr(stored, name) + getattr(added, name))
            stored.limited_hours |= added.limited_hours
        self.addresses.update(addresses)

    async def list(self, since: date, thresholds: Thresholds, limit: int) -> list[tuple[str, UseFigures]]:
        self._answer()
        accounts = {account for account, day in self.days if day >= since}
        found = [(account, self._figures(account, since)) for account in sorted(accounts)]
        found.sort(key=lambda each: -len(outstanding(each[1], thresholds)))
        return found[:limit]

    def _figures(self, account: str, since: date) -> UseFigures:
        days = [counts for (owner, day), counts in self.days.items() if owner == account and day >= since]
        used = Counter(
            (seen.day, seen.public_id)
            for seen in self.addresses
            if seen.account_id == account and seen.day >= since
        )
        limited = sum(each.limited for each in days)
        asked = limited + sum(each.requests for each in days)
        return UseFigures(
            addresses_per_key=max(used.values(), default=0),
            session_fights=max(
                each.sessions_refused + each.sessions_taken_over + each.sessions_replaced for each in days
            ),
            limited_hours=max(each.limited_hours.bit_count() for each in days),
            limited_percent=round(100 * limited / asked) if asked else 0,
            suspicious_trades=0,
        )
