"""Enforces the end of a license or key where it is remembered: in caches, sessions and open connections."""

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from shared.domain.access.client_access import group_of_subject
from shared.domain.access.licenses import ApiKey, Grant, License
from shared.domain.access.plan_catalog import PlanCatalog
from shared.errors import Unavailable

log = logging.getLogger(__name__)


class GrantCache(Protocol):
    async def store_grants(self, grants: Iterable[tuple[str, Grant]]) -> None: ...


class SessionEnder(Protocol):
    async def end(self, license_id: str, public_id: str = "") -> list[str]: ...


class ConnectionCloser(Protocol):
    async def close_group(self, group: str, reason: str) -> None: ...


class Enforcement:
    """Each method returns whether it could; it logs why it could not."""

    def __init__(
        self,
        cache: GrantCache,
        connections: ConnectionCloser,
        sessions: SessionEnder,
        plans: PlanCatalog,
    ) -> None:
        self._cache = cache
        self._sessions = sessions
        self._plans = plans
        self._connections = connections

    async def tell_caches(self, license_: License, keys: Sequence[ApiKey]) -> bool:
        """Caches what the license and its keys allow now, under every hash of the keys."""
        try:
            await self._cache.store_grants(
                [(key_hash, self._plans.grant(license_, key)) for key in keys for key_hash in key.hashes]
            )
        except Unavailable as error:
            log.warning("Redis is not told about license %s: %s", license_.license_id, error.internal)
            return False
        return True

    async def close_connections(self, license_id: str, reason: str, public_id: str = "") -> bool:
        """Ends the sessions and closes the connections of a license, or exactly those of one of its keys.

        Returns whether the connections are closed. Sessions that stay run out, because nothing renews them.
        """
        subject = public_id or license_id
        try:
            await self._sessions.end(license_id, public_id)
        except Unavailable as error:
            log.warning("the sessions of %s run out by themselves: %s", subject, error.internal)
        try:
            await self._connections.close_group(group_of_subject(subject), reason)
        except Unavailable as error:
            log.warning("the connections of %s stay open for now: %s", subject, error.internal)
            return False
        return True
