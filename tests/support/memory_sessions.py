"""The sessions of licenses in memory, decided by the same rules as shared/adapters/redis/lua/sessions.lua."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from shared.domain.access.sessions import (
    ENDED_FOR,
    LEASE,
    MAX_ENDED,
    EndReason,
    Refused,
    Renewal,
    SessionClaim,
    SessionRecord,
    Taken,
)
from shared.errors import CacheUnavailable

LEASE_MS = round(LEASE.total_seconds() * 1000)
KEPT_MS = round(ENDED_FOR.total_seconds() * 1000)
START_MS = 1_772_461_800_000


@dataclass
class MemorySessions:
    """`is_away` makes it fail; `clock_ms` is its clock."""

    clock_ms: Callable[[], int] = lambda: START_MS
    is_away: Callable[[], bool] = lambda: False
    licenses: dict[str, dict[str, SessionRecord]] = field(default_factory=dict)
    renewed: list[int] = field(default_factory=list)

    def _of(self, license_id: str) -> dict[str, SessionRecord]:
        if self.is_away():
            raise CacheUnavailable("The cache cannot be reached.", internal="refused")
        records = self.licenses.setdefault(license_id, {})
        for session_id, record in list(records.items()):
            if (record.ended_ms or record.expires_ms) + KEPT_MS < self.now_ms:
                del records[session_id]
        return records

    @property
    def now_ms(self) -> int:
        return self.clock_ms()

    def is_live(self, record: SessionRecord) -> bool:
        return not record.has_ended and record.expires_ms > self.now_ms

    def live(self, license_id: str) -> list[SessionRecord]:
        return [record for record in self.licenses.get(license_id, {}).values() if self.is_live(record)]

    def _in_the_way(
        self, records: dict[str, SessionRecord], symbols: Sequence[str], places: int, own: str
    ) -> list[SessionRecord]:
        found: dict[str, SessionRecord] = {}
        for symbol in symbols:
            others = [
                record
                for record in records.values()
                if record.session_id != own and self.is_live(record) and symbol in record.symbols
            ]
            others.sort(key=lambda record: (record.expires_ms, record.session_id))
            for record in others[: max(0, len(others) - places + 1)]:
                found.setdefault(record.session_id, record)
        return list(found.values())

    def _finish(
        self, records: dict[str, SessionRecord], record: SessionRecord, reason: EndReason, by: str
    ) -> SessionRecord:
        ended = msgspec.structs.replace(record, ended_ms=self.now_ms, reason=reason, by=by)
        records[record.session_id] = ended
        over = sorted((each for each in records.values() if each.has_ended), key=lambda each: each.ended_ms)
        if len(over) > MAX_ENDED:
            del records[over[0].session_id]
        return ended

    @staticmethod
    def _of_instance(records: dict[str, SessionRecord], instance: str) -> SessionRecord | None:
        own = (each for each in records.values() if each.instance == instance and not each.has_ended)
        return next(own, None)

    async def take(self, claim: SessionClaim) -> Taken | Refused:
        records = self._of(claim.license_id)
        own = self._of_instance(records, claim.instance)
        others = self._in_the_way(records, claim.symbols, claim.places, own.session_id if own else "")
        if others and not claim.force:
            wait_ms = max(record.expires_ms for record in others) - self.now_ms
            return Refused(tuple(others), wait_ms / 1000)
        ended = [self._finish(records, record, "taken_over", claim.instance) for record in others]
        keeps = own is not None and own.session_id == claim.former
        if own is not None and not keeps:
            ended.append(self._finish(records, own, "replaced", claim.instance))
        record = SessionRecord(
            session_id=claim.former if keeps else claim.session_id,
            instance=claim.instance,
            version=claim.version,
            public_id=claim.public_id,
            places=claim.places,
            symbols=claim.symbols,
            since_ms=own.since_ms if own is not None and keeps else self.now_ms,
            expires_ms=self.now_ms + LEASE_MS,
        )
        records[record.session_id] = record
        has_dropped = own is not None and keeps and not set(own.symbols) <= set(claim.symbols)
        return Taken(record, tuple(ended), has_dropped)

    async def renew(self, renewals: Sequence[Renewal]) -> list[SessionRecord | None]:
        answers = [self._renew(renewal) for renewal in renewals]
        self.renewed.append(len(renewals))
        return answers

    def _renew(self, renewal: Renewal) -> SessionRecord | None:
        records = self._of(renewal.license_id)
        record = records.get(renewal.session_id)
        if record is None:
            if renewal.copy is None:
                return None
            record = msgspec.structs.replace(renewal.copy, expires_ms=0)
        if record.has_ended:
            return record
        places = renewal.places or record.places
        if not self.is_live(record):
            same = self._of_instance(records, record.instance)
            if same is not None and same.session_id != record.session_id:
                return self._finish(records, record, "replaced", same.instance)
            others = self._in_the_way(records, record.symbols, places, record.session_id)
            if others:
                return self._finish(records, record, "expired", others[0].instance)
        records[record.session_id] = msgspec.structs.replace(
            record,
            places=places,
            public_id=renewal.public_id or record.public_id,
            expires_ms=self.now_ms + LEASE_MS,
        )
        return records[record.session_id]

    async def release(self, license_id: str, session_id: str, reason: EndReason) -> SessionRecord | None:
        records = self._of(license_id)
        record = records.get(session_id)
        if record is None or not self.is_live(record):
            return None
        self._finish(records, record, reason, "")
        return record

    async def end(
        self, license_id: str, public_id: str = "", reason: EndReason = "license_ended"
    ) -> list[str]:
        records = self._of(license_id)
        due = [
            record
            for record in records.values()
            if not record.has_ended and public_id in ("", record.public_id)
        ]
        for record in due:
            self._finish(records, record, reason, "")
        return [record.session_id for record in due]

    async def look(self, license_id: str) -> list[SessionRecord]:
        self._of(license_id)
        return sorted(self.live(license_id), key=lambda record: (record.since_ms, record.session_id))
