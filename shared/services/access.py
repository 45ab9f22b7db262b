"""Verifies the key of every request, in one fixed order.

1. the request carries a Bearer key (key_missing), and its form and checksum hold (key_malformed)
2. the key was issued (key_unknown); it is not revoked or expired (key_revoked, key_expired)
3. its license is not revoked, suspended or expired (license_revoked, license_suspended, license_expired)
4. the key has the scope (scope_missing)
5. the key is within its rate limit (rate_limited)

A key is known by its hash under the pepper. If a previous pepper is accepted too, a key that is stored
under that one is hashed again when it is first looked up; see docs/operations.md, Rotate the pepper.

A request that fails 1 to 3 counts against no limit; one that fails 4 does, so that misuse is limited too.

How long a revocation takes: while Redis is up, every process refuses the key from its next request on,
because each request is checked against the record in Redis, and Redis sends the record if it has changed.
Redis may miss a revocation: because it hangs, restarts, or comes back with a record from before. So every
process also learns recent endings from Table Storage, see shared/services/ending_watch.py, and reads a
license or key again that may have ended. Without Redis, a process trusts what it last knew of a key for
KNOWN_FOR. So five seconds after a revocation is stored, no process answers the key, whatever Redis does. If
a process cannot reach Table Storage either, it trusts what it knows for STALE_FOR, then refuses
(key_store_unavailable).
Without Redis the limiter opens: requests pass uncounted (`rate` is None).
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.access.admission import NO_TAG, Admission, decode_record
from shared.domain.access.keys import ParsedKey, hash_key, parse_key
from shared.domain.access.licenses import (
    Grant,
    Scope,
    refusal,
    scope_refusal,
)
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.rate_limit import RateState, rate_limited
from shared.domain.confidence.answers import CacheResult
from shared.errors import (
    CacheUnavailable,
    KeyMalformed,
    KeyMissing,
    SignalCloudError,
    Unavailable,
)
from shared.services.bounded import make_room
from shared.services.grants import GrantCache, Grants, KeyReader

# Authorization headers of admitted keys, so that a bot's key is parsed and hashed once and not every time.
MAX_PRESENTED = 10_000
_MAX_AUTHORIZATION = 200


class AccessCache(GrantCache, Protocol):
    def take_request(
        self,
        key_hash: str,
        tag: str = NO_TAG,
        confidence_key: str | None = None,
        cost: int = 1,
        paid: int = 0,
    ) -> Awaitable[Admission | None]: ...
    async def release(self, key: str, token: str) -> bool: ...


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """An admitted request. `rate` and `cache_result` are None while the limiter is open.

    A cache result with a lock token means: this request computes the confidence. If it will not,
    `AccessService.release` gives the lock back.
    """

    grant: Grant
    rate: RateState | None = None
    cache_result: CacheResult | None = None


class AccessService:
    """Admits requests; one per event loop."""

    def __init__(
        self,
        *,
        pepper: bytes,
        cache: AccessCache,
        keys: KeyReader,
        plans: PlanCatalog,
        now: Callable[[], datetime],
        previous_pepper: bytes | None = None,
        unlimited: Callable[[], None] = lambda: None,
        limited: Callable[[Grant], None] = lambda grant: None,
    ) -> None:
        """`unlimited` is called for each request that no limit counted, `limited` for each refused by one."""
        self._pepper = pepper
        self._unlimited = unlimited
        self._limited = limited
        self._cache = cache
        self._grants = Grants(cache=cache, keys=keys, plans=plans, now=now, previous_pepper=previous_pepper)
        self._endings = self._grants.watch
        self._now = now
        self._presented: dict[str, tuple[ParsedKey, str]] = {}  # oldest first

    def trusts(self, authorization: str | None) -> bool:
        """Whether this process has admitted this very header, and has not refused it since.

        Asks nobody and costs one look-up, so that it can stand before the body of every request is read.
        Raises Unauthenticated for what is no key (step 1), and for a key that was just found to be unknown.
        """
        if authorization in self._presented:
            return True
        _, key_hash = self._parsed(authorization)
        self._grants.refuse_if_unknown(key_hash, self._now())
        return False

    async def meet(self, authorization: str | None, scope: Scope) -> Admitted | None:
        """Judges a caller that is not trusted, before its body is read; None means that `admit` may follow.

        A key that this process has never seen is looked up. A key that it would refuse is admitted at once,
        because its license may have been resumed since. Raises what `admit` raises.
        """
        key, key_hash = self._parsed(authorization)
        now = self._now()
        known = self._grants.known(key_hash)
        grant = known.grant if known is not None else await self._grants.find(key, key_hash, now)
        return None if _refusal(grant, scope, now) is None else await self.admit(authorization, scope)

    async def admit(
        self, authorization: str | None, scope: Scope, *, confidence_key: str | None = None, cost: int = 1
    ) -> Admitted:
        """The grant of the key in an `Authorization` header, its quota, and the cache's confidence.

        Takes `cost` units of the key's limit, all or none.

        Raises Unauthenticated, Forbidden, RateLimited, and KeyStoreUnavailable.
        """
        presented = self._presented.get(authorization or "")
        key, key_hash = presented or self._parsed(authorization)
        now = self._now()
        self._grants.refuse_if_unknown(key_hash, now)
        if now >= self._endings.due_at:
            await self._endings.catch_up(now)
        known = self._grants.known(key_hash)
        tag = known.tag if known is not None else NO_TAG
        try:
            admission = await self._cache.take_request(key_hash, tag, confidence_key, cost)
            if admission is None:
                stored = await self._grants.stored_or_stale(key, key_hash, now)
                admission = await self._cache.take_request(key_hash, NO_TAG, confidence_key, cost)
        except CacheUnavailable:
            grant = await self._grants.fresh_or_stored(key, key_hash, now)
            return self._admit_unlimited(grant, scope, now)
        if admission is None:
            # Table Storage is unavailable, so the lookup cached nothing, or Redis did not keep the record.
            return self._admit_unlimited(stored, scope, now)
        if admission.record is not None:
            tag, grant = decode_record(admission.record)
            known = self._grants.remember(key_hash, grant, tag, now)
        assert known is not None  # the cache sends the record unless it has the tag of the known grant
        known.seen_at = now
        if admission.life_ms < known.refresh_below_ms:
            self._grants.refresh_ahead(known, key, key_hash, now)
        grant = known.grant
        admitted = Admitted(grant, admission.rate, admission.cache_result)
        if now >= known.good_until or scope not in grant.key.scopes:
            try:
                grant = await self._grants.doubted(known, key, key_hash, now)
                _raise_refusal(grant, scope, now)
            except SignalCloudError as error:
                self._presented.pop(authorization or "", None)
                await self.release(admitted)
                if (rate := admission.rate) is not None:
                    error.quota = rate.limit, rate.remaining, rate.reset_s, rate.others
                raise
            admitted = Admitted(grant, admission.rate, admission.cache_result)
        if presented is None and authorization:
            self._keep_presented(authorization, key, key_hash)
        if admission.rate is None:
            # A process whose clock is ahead of ours wrote the record: the grant ends within that skew.
            return self._admit_unlimited(grant, scope, now)
        if not admission.allowed:
            self._limited(grant)
            raise rate_limited(admission.rate, cost)
        return admitted

    async def charge(self, authorization: str | None, admitted: Grant, units: int) -> RateState | None:
        """Takes the units of an admitted request beyond its first, all or none; returns the key's quota.

        At most the whole limit is taken. None means that no limit counts. Raises RateLimited.
        """
        cost = min(units, admitted.terms.requests_per_minute)
        key, key_hash = self._presented.get(authorization or "") or self._parsed(authorization)
        known = self._grants.known(key_hash)
        tag = known.tag if known is not None else NO_TAG
        try:
            admission = await self._cache.take_request(key_hash, tag, cost=cost, paid=1)
            if admission is None:
                await self._grants.stored_or_stale(key, key_hash, self._now())
                admission = await self._cache.take_request(key_hash, NO_TAG, cost=cost, paid=1)
        except CacheUnavailable:
            admission = None
        if admission is None or admission.rate is None:
            self._unlimited()
            return None
        if not admission.allowed:
            self._limited(admitted)
            raise rate_limited(admission.rate, cost)
        return admission.rate

    def _parsed(self, authorization: str | None) -> tuple[ParsedKey, str]:
        key = parse_key(_bearer(authorization))
        return key, hash_key(key.text, self._pepper)

    def _keep_presented(self, authorization: str, key: ParsedKey, key_hash: str) -> None:
        """Remembers the header of an admitted key; others could only evict these."""
        make_room(self._presented, MAX_PRESENTED)
        self._presented[authorization] = (key, key_hash)

    async def release(self, admitted: Admitted) -> None:
        """Gives back the lock of a request that will not compute its confidence; others need not wait."""
        cache_result = admitted.cache_result
        if cache_result is not None and cache_result.lock_token is not None:
            try:
                await self._cache.release(cache_result.key, cache_result.lock_token)
            except Unavailable:
                # The lock expires after its second.
                return

    def _admit_unlimited(self, grant: Grant, scope: Scope, now: datetime) -> Admitted:
        """Admits without a cache to count in; raises the refusals of steps 2 to 4."""
        _raise_refusal(grant, scope, now)
        self._unlimited()
        return Admitted(grant)


def _refusal(grant: Grant, scope: Scope, now: datetime) -> SignalCloudError | None:
    return refusal(grant, now) or scope_refusal(grant, scope)


def _raise_refusal(grant: Grant, scope: Scope, now: datetime) -> None:
    refused = _refusal(grant, scope, now)
    if refused is not None:
        raise refused


def _bearer(authorization: str | None) -> str:
    """The credential in a Bearer header (RFC 6750); raises Unauthenticated."""
    if not authorization:
        raise KeyMissing("An API key is required: send `Authorization: Bearer sc_live_...`.")
    if len(authorization) > _MAX_AUTHORIZATION:
        raise KeyMalformed("The Authorization header is too long for a key.")
    # Blanks and tabs are the whitespace of header values (RFC 9110, 5.6.3).
    scheme, _, credential = authorization.strip(" \t").replace("\t", " ").partition(" ")
    if scheme.lower() != "bearer":
        raise KeyMalformed("The Authorization header must begin with Bearer.")
    return credential.strip(" ")
