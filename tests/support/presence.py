"""Asks processes over one table of connections and one hub to open connections."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial

from shared.domain.access.client_access import group_of_subject
from shared.domain.access.connections import Opening
from shared.domain.access.licenses import License
from shared.domain.access.plans import Overrides
from shared.errors import KeyStoreUnavailable, RealtimeUnavailable, SignalCloudError
from shared.services.presence import Presence
from tests.support.counting import Counted
from tests.support.license_plans import PLANS
from tests.support.memory_connections import MemoryConnections

LICENSE = "lic_Ab0000000000"
MADE = datetime(2026, 3, 2, tzinfo=UTC)


class World:
    """Processes over one table of connections and one hub."""

    def __init__(self) -> None:
        self.time = 100.0
        self.away = self.hub_away = False
        self.table = MemoryConnections(clock=lambda: self.time, is_away=lambda: self.away)
        self.listed: dict[str, list[str]] = {}
        self.lists = 0
        self.closed: list[str] = []
        self.plan = "standard"
        self.licenses_away = False
        self.while_listing: Callable[[], Awaitable[None]] = partial(asyncio.sleep, 0)
        self.counted = Counted()
        self.first, self.second = self.process(), self.process()

    def process(self) -> Presence:
        return Presence(
            plans=PLANS,
            store=self.table,
            licenses=self,
            hub=self,
            clock=lambda: self.time,
            count=self.counted,
        )

    async def get_license(self, license_id: str) -> License | None:
        if self.licenses_away:
            raise KeyStoreUnavailable("away", internal="refused")
        return License(
            license_id=license_id,
            account_id="acct-1",
            plan=self.plan,
            overrides=Overrides(symbols=("ES",)),
            created_at=MADE,
        )

    async def close_connection(self, connection_id: str, reason: str) -> None:
        if self.hub_away:
            raise RealtimeUnavailable("away", internal="refused")
        self.closed.append(connection_id)
        assert reason == "connections exceeded"

    async def connections_in(self, group: str) -> list[str]:
        self.lists += 1
        await self.while_listing()
        if self.hub_away:
            raise RealtimeUnavailable("away", internal="refused")
        return self.listed.get(group, [])

    def list_all(self, names: Iterable[str]) -> None:
        self.listed[group_of_subject(LICENSE)] = list(names)


def opening(name: str, *, nonce: str = "", license_id: str = LICENSE, limit: int = 10) -> Opening:
    return Opening(name, license_id, nonce or f"n-{name}", limit)


async def outcome(process: Presence, asked: Opening) -> str:
    """The code of the refusal, or `opened`."""
    try:
        await process.open(asked, "acct-1")
    except SignalCloudError as error:
        return error.code
    return "opened"


async def background() -> None:
    """Lets what runs beside the callers end."""
    for _ in range(200):
        await asyncio.sleep(0)
