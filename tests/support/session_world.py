"""Bots and processes of one license over one store of sessions, one hub and one clock."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from shared.domain.access.client_access import group_of_session
from shared.domain.access.licenses import Grant, License
from shared.domain.access.plans import Overrides
from shared.domain.access.sessions import Session
from shared.domain.notifications.events import Event
from shared.errors import RealtimeUnavailable
from shared.services import session_leases
from shared.services.connected_sessions import ConnectedSessions
from shared.services.realtime import ClientAccess
from shared.services.session_leases import SessionLeases
from shared.services.sessions import SessionRequest, SessionService
from tests.support.access_fakes import FakeAudit
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.license_plans import PLANS
from tests.support.memory_connections import MemoryConnections
from tests.support.memory_sessions import START_MS, MemorySessions

START = datetime.fromtimestamp(START_MS / 1000, UTC)


@dataclass
class Connections:
    """Web PubSub: what was negotiated, and which groups and connections were closed with which reason."""

    away: bool = False
    negotiated: list[str | None] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)

    async def negotiate(
        self, grant: Grant, wanted: Sequence[str] | None, session_id: str | None = None
    ) -> ClientAccess:
        self.negotiated.append(session_id)
        return ClientAccess("wss://hub", "signals", [], "json", START)

    async def close_group(self, group: str, reason: str) -> None:
        if self.away:
            raise RealtimeUnavailable("away", internal="refused")
        self.closed.append((group, reason))

    async def close_connection(self, connection_id: str, reason: str) -> None:
        await self.close_group(connection_id, reason)

    def reasons(self, session: Session) -> list[str]:
        """The reasons with which the connections of a session were closed."""
        return [reason for group, reason in self.closed if group == group_of_session(session.session_id)]


class Process:
    """One process of the app."""

    def __init__(self, world: "World", store: Any) -> None:
        self.counted = Counted()
        self.leases = SessionLeases(store, clock=lambda: world.elapsed_s, count=self.counted)
        self.service = SessionService(
            store=store,
            leases=self.leases,
            connections=world.connections,
            licenses=world,
            plans=PLANS,
            audit=world.audit,
            tell=world.tell,
            fought=lambda account_id, fight: world.fights.append((account_id, fight)),
            now=lambda: START + timedelta(seconds=world.elapsed_s),
            count=self.counted,
        )
        self.connected = ConnectedSessions(
            store=world.table,
            leases=self.leases,
            hub=world.connections,
            close_group=world.connections.close_group,
        )

    async def settle(self) -> None:
        """Waits until everything that was noted is renewed."""
        while self.leases._renewing is not None:
            await asyncio.gather(self.leases._renewing)


class World:
    """Two processes; `places` is the license's number of places of each symbol."""

    def __init__(self, places: int = 1, *, store: Callable[[], Any] | None = None) -> None:
        self.elapsed_s = 0.0
        self.redis_away = False
        self.sessions = MemorySessions(
            clock_ms=lambda: START_MS + round(self.elapsed_s * 1000), is_away=lambda: self.redis_away
        )
        self.connections = Connections()
        self.table = MemoryConnections(clock=lambda: self.elapsed_s)
        self.audit = FakeAudit()
        self.events: list[Event] = []
        self.fights: list[tuple[str, str]] = []
        grant = grant_of("acct-1", "ES", "NQ")
        terms = msgspec.structs.replace(grant.terms, sessions=places)
        self.grant = msgspec.structs.replace(grant, terms=terms)
        make = store or (lambda: self.sessions)
        self.first, self.second = Process(self, make()), Process(self, make())

    async def tell(self, events: Sequence[Event]) -> None:
        self.events += events

    async def get_license(self, license_id: str) -> License | None:
        known = self.grant.license
        overrides = Overrides(symbols=("ES", "NQ"), sessions=self.grant.terms.sessions)
        return msgspec.structs.replace(known, overrides=overrides) if license_id == known.license_id else None

    @property
    def license_id(self) -> str:
        return self.grant.license.license_id

    async def take(
        self,
        instance: str = "bot-1",
        *,
        former: Session | None = None,
        process: Process | None = None,
        connects: bool = False,
        **request: Any,
    ) -> Session:
        """The session that an instance takes."""
        return await (process or self.first).service.take(
            self.grant,
            SessionRequest(instance, **request),
            former.session_id if former else None,
            connects=connects,
        )

    def no_waiting(self, monkeypatch: Any) -> None:
        """Lets renewals start at once, and not together with those of the next half second."""
        monkeypatch.setattr(session_leases, "GATHERED_S", 0.0)
