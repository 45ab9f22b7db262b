"""Gives running bots the places of their license, and takes them back.

One bot at a time holds a place of a license and symbol; the plan says how many places there are. A bot takes its
places when it negotiates a connection or by `POST sessions`, and keeps them by its calls and its open connection
(shared/services/session_leases.py). Redis decides. While it is unavailable, nobody is refused: a bot gets a
session that is not confirmed, and the places are given out afterwards, to the first that renews.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Literal, Protocol

import msgspec

from shared.domain.access.client_access import group_of_session
from shared.domain.access.keys import RandomBytes
from shared.domain.access.licenses import Grant, License, require_symbols
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.plans import MAX_SYMBOLS
from shared.domain.access.sessions import (
    LEASE,
    EndReason,
    Instance,
    Refused,
    Session,
    SessionClaim,
    SessionRecord,
    Taken,
    Version,
    closing_reason,
    new_session_id,
    session_of,
    session_taken,
)
from shared.domain.market.bars import Symbol
from shared.domain.notifications.events import Event
from shared.errors import FieldError, NotFound, Unavailable, ValidationFailed
from shared.metrics import Count, Counter
from shared.services.auditing import AuditLog, Auditor
from shared.services.realtime import ClientAccess
from shared.services.session_leases import SessionLeases

log = logging.getLogger(__name__)

Fight = Literal["refused", "taken_over", "replaced"]


class SessionStore(Protocol):
    async def take(self, claim: SessionClaim) -> Taken | Refused: ...
    async def release(
        self, license_id: str, session_id: str, reason: EndReason, by: str = ""
    ) -> SessionRecord | None: ...
    async def look(self, grant: Grant) -> Sessions:
        """The live sessions of the caller's license; takes none. Raises CacheUnavailable."""
        return await self._sessions(grant.license.license_id, grant.terms.sessions)

    async def release(self, grant: Grant, session_id: str) -> Session:
        """Ends a session of the caller's license; raises NotFound and CacheUnavailable."""
        record = await self._released(grant.license.license_id, session_id, "released")
        return session_of(record)

    async def sessions_of(self, license_id: str) -> Sessions:
        """The live sessions of a license; raises NotFound, CacheUnavailable and KeyStoreUnavailable."""
        license_ = await self._license(license_id)
        return await self._sessions(license_id, self._plans.terms_of(license_).sessions)

    async def end(self, license_id: str, session_id: str, actor: str) -> Session:
        """Ends a session for an operator, and closes its connection; audited under `actor`.

        Raises NotFound, CacheUnavailable and KeyStoreUnavailable.
        """
        license_ = await self._license(license_id)
        record = await self._released(license_id, session_id, "ended_by_operator")
        await self._tell([self._event(license_id, license_.account_id, record, "an operator")])
        audit = Auditor(self._audit, actor)
        await audit.note("session ended", license_id, session=session_id, instance=record.instance)
        return session_of(record)

    async def _sessions(self, license_id: str, places: int) -> Sessions:
        records = await self._store.look(license_id)
        return Sessions([session_of(record) for record in records], places)

    async def _license(self, license_id: str) -> License:
        license_ = await self._licenses.get_license(license_id)
        if license_ is None:
            raise NotFound(f"There is no license {license_id[:64]}.")
        return license_

    async def _released(self, license_id: str, session_id: str, reason: EndReason) -> SessionRecord:
        record = await self._store.release(license_id, session_id, reason)
        if record is None:
            raise NotFound(f"This license has no live session {session_id[:64]}.")
        ended_ms = round(self._now().timestamp() * 1000)
        self._leases.remember(
            license_id, msgspec.structs.replace(record, ended_ms=ended_ms, reason=reason)
        )
        await self._close(session_id, closing_reason(record))
        return record

    async def _end(self, license_id: str, account_id: str, ended: Iterable[SessionRecord]) -> None:
        """Tells and closes the connections of sessions that ended for another one."""
        taken_over: list[Event] = []
        for record in ended:
            self._leases.remember(license_id, record)
            await self._close(record.session_id, closing_reason(record))
            was_live = record.expires_ms > record.ended_ms
            if not was_live:
                continue
            if record.reason == "taken_over":
                self._count(Count.SESSIONS_TAKEN_OVER)
                self._fought(account_id, "taken_over")
                taken_over.append(self._event(license_id, account_id, record, record.by))
            else:
                self._fought(account_id, "replaced")
        if taken_over:
            await self._tell(taken_over)

    async def _close(self, session_id: str, reason: str) -> None:
        try:
            await self._connections.close_group(group_of_session(session_id), reason)
        except Unavailable as error:
            # The timer closes it: its next renewal of the connection finds the session ended.
            log.warning("the connection of an ended session stays open for now: %s", error.internal)

    def _unconfirmed(self, claim: SessionClaim) -> SessionRecord:
        now_ms = round(self._now().timestamp() * 1000)
        record = SessionRecord(
            session_id=claim.former or claim.session_id,
            instance=claim.instance,
            version=claim.version,
            public_id=claim.public_id,
            places=claim.places,
            symbols=claim.symbols,
            since_ms=now_ms,
            expires_ms=now_ms + round(LEASE.total_seconds() * 1000),
        )
        self._leases.remember(claim.license_id, record)
        return record

    def _event(self, license_id: str, account_id: str, record: SessionRecord, by: str) -> Event:
        return Event(
            event_id=f"session_taken_over:{record.session_id}",
            kind="session_taken_over",
            at=self._now(),
            account_id=account_id,
            license_id=license_id,
            values={"instance": record.instance, "by": by, "symbols": ", ".join(record.symbols[:10])},
        )
