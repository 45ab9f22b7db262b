"""The list of licenses and the rows of accounts in memory, as far as services use them."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from shared.adapters.plans import shipped_plans
from shared.domain.access.account_data import Erasure
from shared.domain.access.license_filter import LicenseFilter, LicenseOrder
from shared.domain.access.licenses import License
from shared.domain.notifications.events import Event
from tests.support.memory_notifications import MemoryNotifications
from tests.support.memory_signals import Server

PLACES: dict[str, Callable[[License], str]] = {
    "created": lambda each: each.created_at.isoformat(),
    "expires": lambda each: each.expires_at.isoformat() if each.expires_at else "~",
    "account": lambda each: each.account_id,
    "plan": lambda each: each.plan,
    "id": lambda each: "",
}


async def unlisted(license_: License) -> None:
    """Lists no license: for services whose list does not matter."""


class MemoryPage(NamedTuple):
    licenses: list[License]
    matching: int
    end: Any


class MemoryPlace(NamedTuple):
    place: str
    license_id: str


class MemoryLicenseList:
    def __init__(self, server: Server, notifications: MemoryNotifications) -> None:
        self._server = server
        self._notifications = notifications
        self.listed: dict[str, License] = {}
        self.warned: set[tuple[str, datetime, int]] = set()

    async def put(
        self,
        licenses: Sequence[License],
        events_of: Callable[[License | None, License], Sequence[Event]],
    ) -> int:
        self._server.answer()
        stored = 0
        for each in licenses:
            before = self.listed.get(each.license_id)
            if before is None or before.revision < each.revision:
                stored += 1
                self.listed[each.license_id] = each
                await self._notifications.add(events_of(before, each))
        return stored

    async def set_back(self, license_: License) -> None:
        self._server.answer()
        self.listed[license_.license_id] = license_

    async def revisions(self, license_ids: Sequence[str]) -> dict[str, int]:
        self._server.answer()
        return {each: self.listed[each].revision for each in license_ids if each in self.listed}

    async def of_discord_user(self, discord_user_id: str, limit: int) -> list[License]:
        self._server.answer()
        return [each for each in self.listed.values() if each.discord_user_id == discord_user_id][:limit]

    async def warn(self, now: datetime, warning_of: Callable[[License, int], Event]) -> int:
        self._server.answer()
        return 0

    async def page(
        self,
        chosen: LicenseFilter,
        *,
        plans_with_symbol: Sequence[str],
        order: LicenseOrder,
        descending: bool,
        after: tuple[str, str] | None,
        limit: int,
        now: datetime,
    ) -> MemoryPage:
        self._server.answer()
        terms_of, place_of = shipped_plans().terms_of, PLACES[order]
        fitting = [each for each in self.listed.values() if chosen.fits(each, terms_of, now)]
        placed = sorted(((place_of(each), each.license_id) for each in fitting), reverse=descending)
        if after is not None:
            placed = [each for each in placed if (each < after if descending else each > after)]
        page = placed[:limit]
        end = MemoryPlace(*page[-1]) if len(placed) > limit else None
        return MemoryPage([self.listed[license_id] for _, license_id in page], len(fitting), end)


class MemoryAccounts:
    """The rows of accounts by table: only their number, and the erasures."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.erasures: dict[str, Erasure] = {}
        self.finished: list[str] = []

    async def rows(
        self, table: str, account_id: str, license_ids: Sequence[str], subjects: Sequence[str]
    ) -> AsyncGenerator[list[dict[str, Any]]]:
        self._server.answer()
        mine = [row for row in self.tables.get(table, []) if row["account_id"] == account_id]
        if mine:
            yield mine

    async def count(
        self, table: str, account_id: str, license_ids: Sequence[str], subjects: Sequence[str]
    ) -> int:
        self._server.answer()
        return sum(row["account_id"] == account_id for row in self.tables.get(table, []))

    async def begin_erasure(self, account_id: str, pseudonym: str, now: datetime) -> Erasure:
        self._server.answer()
        return self.erasures.setdefault(account_id, Erasure(account_id, pseudonym, now))

    async def erasure_of(self, account_id: str) -> Erasure | None:
        self._server.answer()
        return self.erasures.get(account_id)

    async def erasures_under_way(self, limit: int) -> list[Erasure]:
        self._server.answer()
        return list(self.erasures.values())[:limit]

    async def erase_some(self, table: str, erasure: Erasure, subjects: Sequence[str]) -> int:
        self._server.answer()
        rows = self.tables.get(table, [])
        mine = [row for row in rows if row["account_id"] == erasure.account_id]
        for row in mine:
            row["account_id"] = erasure.pseudonym
        return len(mine)

    async def finish_erasure(self, erasure: Erasure, now: datetime) -> None:
        self._server.answer()
        del self.erasures[erasure.account_id]
        self.finished.append(erasure.pseudonym)
