"""Renews sessions that show a sign of life: authenticated calls with a Session-Id, and open connections.

A call costs no request to Redis: the process notes it in memory, and renews in the background, at most once
in RENEW_EVERY_S a session, all due sessions in one write. So a call learns within NOTICED_WITHIN_S that its
session was taken over.

If Redis is unavailable, nobody is refused: sessions stay as this process last knew them (counted, logged
once). Afterwards each renewal brings its session back, from the copy that the process has, if its place is
still free.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from shared.domain.access.licenses import Grant
from shared.domain.access.sessions import (
    RENEW_EVERY_S,
    Renewal,
    SessionRecord,
    is_session_id,
    session_lost,
)
from shared.errors import Unavailable
from shared.metrics import Count, Counter
from shared.services.bounded import make_room

# Due sessions of this long share one write.
GATHERED_S = 0.5
MAX_REMEMBERED = 20_000
# Redis may have been emptied: then another process, which has a copy, brings the session back meanwhile.
LOST_AFTER_UNKNOWN = 2
_ALWAYS = float("-inf")

log = logging.getLogger(__name__)


class RenewingStore(Protocol):
    async def renew(self, renewals: Sequence[Renewal]) -> list[SessionRecord | None]: ...


class _Lease(msgspec.Struct):
    """A session that this process has seen; `record` is None until Redis has answered.

    A call from `judged_at` on is judged, and one from `due_at` on renews it; both on the process's clock. One
    that Redis did not know `unknown` times in a row may still come back.
    """

    license_id: str
    record: SessionRecord | None = None
    judged_at: float = _ALWAYS
    due_at: float = _ALWAYS
    unknown: int = 0

    @property
    def has_ended(self) -> bool:
        return self.record is not None and self.record.has_ended

    @property
    def copy(self) -> SessionRecord | None:
        """What may restore the session."""
        return None if self.has_ended else self.record


class SessionLeases:
    """The sessions that one event loop has seen; `clock` returns seconds, monotonic."""

    def __init__(self, store: RenewingStore, *, clock: Callable[[], float], count: Counter) -> None:
        self._store = store
        self._clock = clock
        self._count = count
        self._leases: dict[str, _Lease] = {}  # by session id, the oldest first
        self._due: dict[str, Renewal] = {}
        self._unconfirmed: dict[str, Renewal] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._bringing: asyncio.Task[None] | None = None
        self._failing = False

    def note(self, grant: Grant, session_id: str) -> None:
        """Notes a call of a session; raises SessionLost if the session is known to be over.

        Asks nobody: on the hot path it is one look-up, and a comparison of times.
        """
        lease = self._leases.get(session_id)
        if lease is None or self._clock() >= lease.judged_at:
            self._judge(grant, session_id, lease)

    def _judge(self, grant: Grant, session_id: str, lease: _Lease | None) -> None:
        license_id = grant.license.license_id
        if lease is None:
            if not is_session_id(session_id):
                raise session_lost(None)
            make_room(self._leases, MAX_REMEMBERED)
            lease = self._leases[session_id] = _Lease(license_id)
        elif lease.license_id != license_id:
            raise session_lost(None)
        now = self._clock()
        is_due = now >= lease.due_at
        if is_due:
            # Asks again about one that is over, too: Redis alone decides, and may have been emptied since.
            lease.due_at = now + RENEW_EVERY_S
            self._due[session_id] = self._renewal(grant, session_id, lease.copy)
            self._renew_soon()
        if lease.has_ended:
            raise session_lost(lease.record)
        if lease.unknown < LOST_AFTER_UNKNOWN:
            lease.judged_at = lease.due_at
        elif not is_due:
            raise session_lost(None)

    def _renew_soon(self) -> None:
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew_gathered())

    async def confirm(self, grant: Grant, session_id: str) -> SessionRecord | None:
        """Renews a session at once, and returns it; raises SessionLost if it is over.

        None if Redis is unavailable, and this process has not seen the session.
        """
        lease = self._leases.get(session_id)
        known = lease.copy if lease is not None and lease.license_id == grant.license.license_id else None
        try:
            (record,) = await self.renew([self._renewal(grant, session_id, known)])
        except Unavailable:
            if lease is not None and lease.license_id == grant.license.license_id and lease.has_ended:
                raise session_lost(lease.record) from None
            return known
        if record is None or record.has_ended:
            raise session_lost(record)
        return record

    async def renew(self, renewals: Sequence[Renewal]) -> list[SessionRecord | None]:
        """Renews sessions and remembers what became of them; raises Unavailable, which is counted."""
        try:
            records = await self._store.renew(renewals)
        except Unavailable as error:
            self._note_outage(error, len(renewals))
            raise
        self._end_outage()
        for renewal, record in zip(renewals, records, strict=True):
            self._remember(renewal.license_id, renewal.session_id, record)
        return records

    def remember(self, license_id: str, record: SessionRecord) -> None:
        """Remembers a session that Redis has just given, or refuses its calls from now on if it has ended."""
        self._end_outage()
        self._remember(license_id, record.session_id, record)

    def keep_unconfirmed(self, grant: Grant, record: SessionRecord, error: Unavailable) -> None:
        """Remembers a session that was given during an outage, and brings it to Redis afterwards."""
        self._note_outage(error)
        self._remember(grant.license.license_id, record.session_id, record)
        make_room(self._unconfirmed, MAX_REMEMBERED)
        self._unconfirmed[record.session_id] = self._renewal(grant, record.session_id, record)
        if self._bringing is None:
            self._bringing = asyncio.get_running_loop().create_task(self._bring_back())

    async def _bring_back(self) -> None:
        """Tries until Redis answers, because this process may get no other call that would."""
        try:
            while self._unconfirmed:
                await asyncio.sleep(RENEW_EVERY_S)
                await self._renew_all([next(iter(self._unconfirmed.values()))] if self._unconfirmed else [])
        finally:
            self._bringing = None

    def _note_outage(self, error: Unavailable, sessions: int = 1) -> None:
        """Counts sessions that could not be checked, and logs the first of an outage."""
        self._count(Count.SESSIONS_UNCHECKED, sessions)
        if not self._failing:
            self._failing = True
            log.warning("sessions are not checked, and nobody is refused: %s", error.internal)

    def _end_outage(self) -> None:
        if self._failing:
            self._failing = False
            log.info("sessions are checked again")
        if self._unconfirmed:
            self._due |= self._unconfirmed
            self._unconfirmed = {}
            self._renew_soon()

    def _remember(self, license_id: str, session_id: str, record: SessionRecord | None) -> None:
        lease = self._leases.get(session_id)
        if lease is None:
            make_room(self._leases, MAX_REMEMBERED)
            lease = self._leases[session_id] = _Lease(license_id)
        elif lease.license_id != license_id:
            return
        lease.unknown = lease.unknown + 1 if record is None else 0
        if record is not None:
            lease.record = record
        lease.due_at = self._clock() + RENEW_EVERY_S
        is_over = lease.has_ended or lease.unknown >= LOST_AFTER_UNKNOWN
        lease.judged_at = _ALWAYS if is_over else lease.due_at

    @staticmethod
    def _renewal(grant: Grant, session_id: str, copy: SessionRecord | None) -> Renewal:
        return Renewal(
            license_id=grant.license.license_id,
            session_id=session_id,
            public_id=grant.key.public_id,
            places=grant.terms.sessions,
            copy=copy,
        )

    async def _renew_gathered(self) -> None:
        try:
            while self._due:
                await asyncio.sleep(GATHERED_S)
                due, self._due = self._due, {}
                await self._renew_all(list(due.values()))
        finally:
            self._renewing = None

    async def _renew_all(self, renewals: Sequence[Renewal]) -> None:
        try:
            await self.renew(renewals)
        except Unavailable:
            # Counted and logged; the next call of each session tries again.
            return
        except Exception:
            # A defect must not end the renewals of every later call.
            log.exception("sessions could not be renewed")
