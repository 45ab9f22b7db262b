"""Gives running bots the places of their license, and takes them back.

One bot at a time holds a place of a license and symbol; the plan says how many places there are. A bot takes
its places when it negotiates a connection or by `POST sessions`, and keeps them by its calls and its open
connection (shared/services/session_leases.py). Redis decides. While it is unavailable, nobody is refused: a
bot gets a session that is not confirmed, and the places are given out afterwards, to the first that renews.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Protocol

import msgspec

from shared.domain.access.client_access import group_of_session
from shared.domain.access.keys import RandomBytes
from shared.domain.access.license_checks import no_license
from shared.domain.access.licenses import Grant, License, require_symbols
from shared.domain.access.misuse import Fight
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.plans import MAX_SYMBOLS
from shared.domain.access.sessions import (
    EndReason,
    Instance,
    Refused,
    Session,
    SessionClaim,
    SessionRecord,
    Taken,
    Version,
    closing_reason,
    ended_record,
    named_symbols,
    new_session_id,
    session_of,
    session_taken,
    unconfirmed_record,
)
from shared.domain.market.bars import Symbol
from shared.domain.notifications.events import Event
from shared.errors import FieldError, Unavailable, ValidationFailed
from shared.metrics import Count, Counter
from shared.services.auditing import AuditLog, Auditor
from shared.services.realtime import ClientAccess
from shared.services.session_leases import SessionLeases

# Two bots that both force take over from each other again and again: the holder is told once in this time.
TOLD_EVERY_S = 600

log = logging.getLogger(__name__)


class SessionStore(Protocol):
    async def take(self, claim: SessionClaim) -> Taken | Refused: ...
    async def release(self, license_id: str, session_id: str, reason: EndReason) -> SessionRecord | None: ...
    async def look(self, license_id: str) -> list[SessionRecord]: ...


class LicenseReader(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...


class Connections(Protocol):
    async def negotiate(
        self, grant: Grant, wanted: Sequence[str] | None, session_id: str | None = None
    ) -> ClientAccess: ...
    async def close_group(self, group: str, reason: str) -> None: ...


# The services refuse an empty list, with the reason.
Symbols = Annotated[list[Symbol], msgspec.Meta(max_length=MAX_SYMBOLS, extra_json_schema={"minItems": 1})]


class SessionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bot that wants places, and for which symbols; without these, for all that the license covers.

    With `force`, it takes the places over from the bots that hold them.
    """

    instance: Instance
    version: Version | None = None
    symbols: Symbols | None = None
    force: bool = False


class NegotiateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The symbols to receive; without them, all symbols that the license covers.

    A bot that names its `instance` takes a session for them. Some plans require one.
    """

    symbols: Symbols | None = None
    instance: Instance | None = None
    version: Version | None = None
    force: bool = False


class Released(msgspec.Struct, frozen=True):
    """Whether a session was live; it is not any more."""

    session_id: str
    was_live: bool


class Sessions(msgspec.Struct, frozen=True):
    """The live sessions of one license, the oldest first, and the places that each symbol has."""

    sessions: list[Session]
    places: int


class SessionService:
    """The sessions of one event loop's process.

    `tell` reports events, and `fought` each fight of an account's bots over a place, for the counts of
    misuse.
    """

    def __init__(
        self,
        *,
        store: SessionStore,
        leases: SessionLeases,
        connections: Connections,
        licenses: LicenseReader,
        plans: PlanCatalog,
        audit: AuditLog,
        tell: Callable[[Sequence[Event]], Awaitable[None]],
        fought: Callable[[str, Fight], None],
        now: Callable[[], datetime],
        count: Counter,
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._leases = leases
        self._connections = connections
        self._licenses = licenses
        self._plans = plans
        self._audit = audit
        self._tell = tell
        self._fought = fought
        self._now = now
        self._count = count
        self._rng = rng

    async def take(
        self, grant: Grant, request: SessionRequest, former: str | None = None, *, connects: bool = False
    ) -> Session:
        """A session for all symbols of the request; `former` is the session that the caller says it holds.

        The same instance keeps that session, or gets a new one at once. Its earlier connection is closed if
        the caller `connects` again, or if the connection is not of this session or hears a symbol that the
        session does not have any more. Raises SessionTaken, SymbolNotLicensed and ValidationFailed.
        """
        claim = self._claim(grant, request, former or "")
        try:
            taken = await self._store.take(claim)
        except Unavailable as error:
            record = unconfirmed_record(claim, self._now())
            self._leases.keep_unconfirmed(grant, record, error)
            return session_of(record, is_confirmed=False)
        if isinstance(taken, Refused):
            self._count(Count.SESSIONS_REFUSED)
            self._fought(grant.license.account_id, "refused")
            raise session_taken(taken)
        self._count(Count.SESSIONS_TAKEN)
        self._leases.remember(claim.license_id, taken.record)
        if taken.has_dropped or (connects and taken.record.session_id == claim.former):
            # A session has one connection, which hears symbols of the session alone.
            await self._close(taken.record.session_id, "session connects again")
        await self._end(claim.license_id, grant.license.account_id, taken.ended)
        return session_of(taken.record)

    def _claim(self, grant: Grant, request: SessionRequest, former: str) -> SessionClaim:
        symbols = grant.terms.symbols if request.symbols is None else tuple(dict.fromkeys(request.symbols))
        if not symbols:
            message = "A session needs symbols: name some, or leave this out for all."
            raise ValidationFailed((FieldError("symbols", "out_of_range", message),))
        require_symbols(grant, {symbol: f"symbols[{index}]" for index, symbol in enumerate(symbols)})
        return SessionClaim(
            license_id=grant.license.license_id,
            public_id=grant.key.public_id,
            places=grant.terms.sessions,
            session_id=new_session_id(self._rng),
            former=former,
            instance=request.instance,
            version=request.version or "",
            symbols=symbols,
            force=request.force,
        )

    async def negotiate(
        self, grant: Grant, request: NegotiateRequest, former: str | None = None
    ) -> ClientAccess:
        """A client access URL; with an instance, under a session.

        Raises ValidationFailed if the plan requires a session and the request names no instance, and what
        `take` and RealtimeService.negotiate raise.
        """
        if request.instance is None:
            if grant.terms.session_required:
                message = "The license's plan needs a session: name the running bot, such as bot-1."
                raise ValidationFailed((FieldError("instance", "missing", message),))
            return await self._connections.negotiate(grant, request.symbols)
        wanted = SessionRequest(request.instance, request.version, request.symbols, request.force)
        session = await self.take(grant, wanted, former, connects=True)
        access = await self._connections.negotiate(grant, request.symbols, session.session_id)
        return msgspec.structs.replace(access, session=session)

    async def look(self, grant: Grant) -> Sessions:
        """The live sessions of the caller's license; takes none. Raises CacheUnavailable."""
        return await self._sessions(grant.license.license_id, grant.terms.sessions)

    async def release(self, grant: Grant, session_id: str) -> Released:
        """Ends a session of the caller's license; raises CacheUnavailable."""
        record = await self._released(grant.license.license_id, session_id, "released")
        return Released(session_id, record is not None)

    async def sessions_of(self, license_id: str) -> Sessions:
        """The live sessions of a license; raises NotFound, CacheUnavailable and KeyStoreUnavailable."""
        license_ = await self._license(license_id)
        return await self._sessions(license_id, self._plans.terms_of(license_).sessions)

    async def end(self, license_id: str, session_id: str, actor: str) -> Released:
        """Ends a session for an operator, and closes its connection; audited under `actor`.

        Raises NotFound, CacheUnavailable and KeyStoreUnavailable.
        """
        license_ = await self._license(license_id)
        record = await self._released(license_id, session_id, "ended_by_operator")
        if record is not None:
            told = self._event(session_id, license_id, license_.account_id, record, "an operator")
            await self._tell([told])
            audit = Auditor(self._audit, actor)
            await audit.note("session ended", license_id, session=session_id, instance=record.instance)
        return Released(session_id, record is not None)

    async def _sessions(self, license_id: str, places: int) -> Sessions:
        records = await self._store.look(license_id)
        return Sessions([session_of(record) for record in records], places)

    async def _license(self, license_id: str) -> License:
        license_ = await self._licenses.get_license(license_id)
        if license_ is None:
            raise no_license(license_id)
        return license_

    async def _released(self, license_id: str, session_id: str, reason: EndReason) -> SessionRecord | None:
        """The session as it was, or None if it was over already."""
        record = await self._store.release(license_id, session_id, reason)
        if record is None:
            return None
        self._leases.remember(license_id, ended_record(record, reason, self._now()))
        await self._close(session_id, "session ended")
        return record

    async def _end(self, license_id: str, account_id: str, ended: Iterable[SessionRecord]) -> None:
        """Tells the connections of sessions that ended for another one, and closes them."""
        taken_over: list[Event] = []
        for record in ended:
            self._leases.remember(license_id, record)
            await self._close(record.session_id, closing_reason(record))
            if record.expires_ms <= record.ended_ms:
                # Nobody held it any more.
                continue
            if record.reason == "taken_over":
                self._count(Count.SESSIONS_TAKEN_OVER)
                self._fought(account_id, "taken_over")
                told = f"{license_id}:{int(self._now().timestamp()) // TOLD_EVERY_S}"
                taken_over.append(self._event(told, license_id, account_id, record, record.by))
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

    def _event(self, name: str, license_id: str, account_id: str, record: SessionRecord, by: str) -> Event:
        """The event of a session that ended; of several with one `name`, the first is told."""
        return Event(
            event_id=f"session_taken_over:{name}",
            kind="session_taken_over",
            at=self._now(),
            account_id=account_id,
            license_id=license_id,
            values={
                "symbol": named_symbols(record.symbols),
                "instance": record.instance,
                "version": record.version,
                "taken_by": by,
            },
        )
