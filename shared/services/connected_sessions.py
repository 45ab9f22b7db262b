"""Renews the sessions of open connections, and closes the connections of sessions that are over.

So a bot that only listens keeps its place without a request. A timer runs it three times in a lease.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from shared.domain.access.client_access import group_of_session
from shared.domain.access.connections import ConnectedSession
from shared.domain.access.sessions import Renewal, SessionRecord, closing_reason
from shared.errors import Unavailable
from shared.services.concurrency import run_for_each

PAGE = 1_000
# Bounds one run: 20,000 open connections with a session.
MAX_PAGES = 20
CLOSED_AT_ONCE = 8

log = logging.getLogger(__name__)


class ConnectionStore(Protocol):
    async def connected_sessions(self, after: str, limit: int) -> list[ConnectedSession]: ...


class Leases(Protocol):
    async def renew(self, renewals: Sequence[Renewal]) -> list[SessionRecord | None]: ...


class Hub(Protocol):
    async def close_connection(self, connection_id: str, reason: str) -> None: ...


class ConnectedSessions:
    """The sessions of all open connections; `close_group` sends a reason to a group, then closes it."""

    def __init__(
        self,
        *,
        store: ConnectionStore,
        leases: Leases,
        hub: Hub,
        close_group: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._leases = leases
        self._hub = hub
        self._close_group = close_group
        self._unknown: set[str] = set()  # session ids that Redis did not know in the last run

    async def renew(self) -> int:
        """Renews the session of each open connection; returns how many were over. Raises Unavailable."""
        after, lost = "", 0
        unknown, self._unknown = self._unknown, set()
        for _ in range(MAX_PAGES):
            page = await self._store.connected_sessions(after, PAGE)
            if page:
                lost += await self._renew(page, unknown)
                after = page[-1].session_id
            if len(page) < PAGE:
                break
        return lost

    async def _renew(self, page: Sequence[ConnectedSession], unknown: set[str]) -> int:
        renewals = [
            Renewal(license_id=each.license_id, session_id=each.session_id, copy=each.session)
            for each in page
        ]
        records = await self._leases.renew(renewals)
        ended: list[tuple[str, str]] = []
        superfluous: list[str] = []
        for each, record in zip(page, records, strict=True):
            if record is None and each.session_id not in unknown:
                # Taken while Redis was unavailable: the process that gave it brings it back within seconds.
                self._unknown.add(each.session_id)
            elif record is None or record.has_ended:
                reason = closing_reason(record) if record is not None else "session ended"
                ended.append((group_of_session(each.session_id), reason))
            else:
                superfluous += each.connection_ids[1:]
        await run_for_each(self._close, ended, at_once=CLOSED_AT_ONCE)
        close = partial(self._hub.close_connection, reason="session connected again")
        await run_for_each(close, superfluous, at_once=CLOSED_AT_ONCE)
        return len(ended)

    async def _close(self, ended: tuple[str, str]) -> None:
        try:
            await self._close_group(*ended)
        except Unavailable as error:
            log.warning("the connection of an ended session stays open for now: %s", error.internal)
