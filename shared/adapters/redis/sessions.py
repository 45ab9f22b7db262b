"""Keeps the sessions of licenses in Redis: one hash a license, and one script that decides in one step."""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.adapters.redis.names import sessions_key
from shared.adapters.redis.store import RedisStore, ScriptCall
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

_MS = 1_000
_LIMITS = (round(LEASE.total_seconds() * _MS), round(ENDED_FOR.total_seconds() * _MS), MAX_ENDED)
# Bounds one write: the renewals of so many sessions take Redis about 10 ms.
MAX_RENEWALS_PER_WRITE = 500

_decoded = msgspec.json.Decoder(SessionRecord).decode
_encode = msgspec.json.encode


class SessionStore:
    """Every method raises CacheUnavailable during an outage."""

    def __init__(self, redis: RedisStore) -> None:
        self._redis = redis

    async def take(self, claim: SessionClaim) -> Taken | Refused:
        """Gives the claim its places, or says who is in the way."""
        (reply,) = await self._run(
            _call(
                claim.license_id,
                "take",
                claim.places,
                int(claim.force),
                claim.session_id,
                claim.former,
                claim.instance,
                claim.version,
                claim.public_id,
                ",".join(claim.symbols),
            )
        )
        is_taken, answer, records, *dropped = reply
        others = tuple(_decoded(record) for record in records)
        if not is_taken:
            return Refused(others, answer / _MS)
        return Taken(_decoded(answer), others, has_dropped=dropped == [1])

    async def renew(self, renewals: Sequence[Renewal]) -> list[SessionRecord | None]:
        """The record of each session, which has ended if another took its place; None if it is unknown."""
        answers: list[SessionRecord | None] = []
        for first in range(0, len(renewals), MAX_RENEWALS_PER_WRITE):
            part = renewals[first : first + MAX_RENEWALS_PER_WRITE]
            replies = await self._run(*map(_renewal_call, part))
            answers += [_decoded(record) if record else None for record in replies]
        return answers

    async def release(self, license_id: str, session_id: str, reason: EndReason) -> SessionRecord | None:
        """Ends one session; returns it as it was, or None if the license has no such live session."""
        (record,) = await self._run(_call(license_id, "release", session_id, reason))
        return _decoded(record) if record else None

    async def end(
        self, license_id: str, public_id: str = "", reason: EndReason = "license_ended"
    ) -> list[str]:
        """Ends all sessions of a license, or those that a key last used; returns their ids."""
        (ids,) = await self._run(_call(license_id, "end", public_id, reason))
        return [session_id.decode() for session_id in ids]

    async def look(self, license_id: str) -> list[SessionRecord]:
        """The live sessions of a license, the oldest first."""
        (records,) = await self._run(_call(license_id, "look"))
        found = [_decoded(record) for record in records]
        return sorted(found, key=lambda record: (record.since_ms, record.session_id))

    async def _run(self, *calls: ScriptCall) -> list[Any]:
        return await self._redis.run_script("sessions", *calls)


def _call(license_id: str, operation: str, *arguments: bytes | str | int) -> ScriptCall:
    return (sessions_key(license_id),), (operation, *_LIMITS, *arguments)


def _renewal_call(renewal: Renewal) -> ScriptCall:
    copy = _encode(renewal.copy) if renewal.copy is not None else b""
    return _call(renewal.license_id, "renew", renewal.session_id, renewal.public_id, renewal.places, copy)
