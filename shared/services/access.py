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
Without Redis, a process trusts what it last knew of a key for KNOWN_FOR, and if Table Storage is unavailable
as well, for STALE_FOR; after that it refuses (key_store_unavailable). A revocation that could not reach
Redis takes effect there when the record is read again, at most 60 seconds after it was cached.
Without Redis the limiter opens: requests pass uncounted (`rate` is None).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.admission import NO_TAG, Admission, decode_record
from shared.domain.access.keys import ParsedKey, hash_key, parse_key, same_hash
from shared.domain.access.licenses import (
    ApiKey,
    Grant,
    License,
    Scope,
    good_until,
    refusal,
    rehashed_key,
    scope_refusal,
)
from shared.domain.access.rate_limit import RateState, rate_limited
from shared.domain.confidence.answers import CacheResult
from shared.errors import (
    CacheUnavailable,
    KeyMalformed,
    KeyMissing,
    KeyStoreUnavailable,
    KeyUnknown,
    SignalCloudError,
    Unauthenticated,
    Unavailable,
)

KNOWN_FOR = timedelta(seconds=5)
STALE_FOR = timedelta(seconds=60)
MAX_KNOWN = 10_000

# An unknown key is remembered this long. It has a valid checksum, so somebody invents keys: the number of
# concurrent lookups of never seen keys is bounded, lookups of known keys are not.
UNKNOWN_FOR = timedelta(seconds=5)
MAX_UNKNOWN = 10_000
# Authorization headers of active keys, so that a bot's key is parsed and hashed once and not every time.
MAX_PRESENTED = 10_000
MAX_STRANGER_LOOKUPS = 32
STRANGER_WAIT_S = 3.0

# Refreshes an active key's cached record before it expires, so that no request waits for Table Storage. The
# refresh starts 10 to 40 s before the end; the key decides when, because keys that were loaded together
# also expire together. One process refreshes for all.
REFRESH_BEFORE_MS = (10_000, 40_000)
REFRESH_CLAIM = timedelta(seconds=10)

# A grant that took longer to read is not cached: the record of a revocation may have expired by then.
MAX_LOAD = timedelta(seconds=20)

_MAX_AUTHORIZATION = 200
# Earlier than any event.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AccessCache(Protocol):
    def take_request(
        self, key_hash: str, tag: str = NO_TAG, confidence_key: str | None = None
    ) -> Awaitable[Admission | None]: ...
    async def store_grant(self, key_hash: str, grant: Grant) -> None: ...
    async def claim_refresh(self, key_hash: str, life_s: float) -> bool: ...
    async def release(self, key: str, token: str) -> bool: ...


class KeyReader(Protocol):
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def get_license(self, license_id: str) -> License | None: ...
    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey: ...


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """An admitted request. `rate` and `cache_result` are None while the limiter is open.

    A cache result with a lock token means: this request computes the confidence. If it will not,
    `AccessService.release` gives the lock back.
    """

    grant: Grant
    rate: RateState | None = None
    cache_result: CacheResult | None = None


class _Known(msgspec.Struct):
    """A grant as this process last saw it.

    `tag` is of its record in Redis. From `good_until` on it may be refused, and is judged in full.
    """

    grant: Grant
    tag: str
    good_until: datetime
    seen_at: datetime
    refresh_below_ms: int
    refreshed_at: datetime = EPOCH


class AccessService:
    """Admits requests; one per event loop."""

    def __init__(
        self,
        *,
        pepper: bytes,
        cache: AccessCache,
        keys: KeyReader,
        now: Callable[[], datetime],
        previous_pepper: bytes | None = None,
        unlimited: Callable[[], None] = lambda: None,
    ) -> None:
        """`unlimited` is called for each request that no limit counted."""
        self._pepper = pepper
        self._previous_pepper = previous_pepper
        self._unlimited = unlimited
        self._cache = cache
        self._keys = keys
        self._now = now
        self._known: dict[str, _Known] = {}
        self._presented: dict[str, tuple[ParsedKey, str]] = {}  # oldest first
        self._unknown: dict[str, datetime] = {}
        self._loads: dict[str, asyncio.Task[Grant]] = {}
        self._strangers = asyncio.Semaphore(MAX_STRANGER_LOOKUPS)
        self._refreshes: set[asyncio.Task[None]] = set()
        # While Table Storage is unavailable, requests of known keys try it again only now and then.
        self._store_retry_at = EPOCH

    async def admit(
        self, authorization: str | None, scope: Scope, *, confidence_key: str | None = None
    ) -> Admitted:
        """The grant of the key in an `Authorization` header, its quota, and the cache's confidence.

        Raises Unauthenticated, Forbidden, RateLimited, and KeyStoreUnavailable.
        """
        presented = self._presented.get(authorization or "")
        key, key_hash = presented or self._parsed(authorization)
        now = self._now()
        if self._unknown:
            self._refuse_if_unknown(key_hash, now)
        known = self._known.get(key_hash)
        try:
            admission = await self._cache.take_request(
                key_hash, known.tag if known else NO_TAG, confidence_key
            )
            if admission is None:
                loaded = await self._stored(key, key_hash, now)
                known = None
                admission = await self._cache.take_request(key_hash, confidence_key=confidence_key)
        except CacheUnavailable:
            return self._admit_unlimited(await self._known_or_stored(key, key_hash, now), scope, now)
        if admission is None:
            # Redis did not keep the record, or never got it because Table Storage is unavailable.
            return self._admit_unlimited(loaded, scope, now)
        if known is None or admission.record is not None:
            assert admission.record is not None
            tag, grant = decode_record(admission.record)
            known = self._remember(key_hash, grant, tag, now)
        known.seen_at = now
        if admission.life_ms < known.refresh_below_ms:
            self._refresh_ahead(known, key, key_hash, now)
        if presented is None and authorization:
            self._keep_presented(authorization, key, key_hash)
        grant = known.grant
        admitted = Admitted(grant, admission.rate, admission.cache_result)
        if now >= known.good_until or scope not in grant.key.scopes:
            refused = _refusal(grant, scope, now)
            if refused is not None:
                await self.release(admitted)
                raise refused
        if admission.rate is None:
            # A process whose clock is ahead of ours wrote the record: the grant ends within that skew.
            return self._admit_unlimited(grant, scope, now)
        if not admission.allowed:
            raise rate_limited(admission.rate)
        return admitted

    def _parsed(self, authorization: str | None) -> tuple[ParsedKey, str]:
        key = parse_key(_bearer(authorization))
        return key, hash_key(key.text, self._pepper)

    def _keep_presented(self, authorization: str, key: ParsedKey, key_hash: str) -> None:
        """Remembers the header of an issued key; invented keys could only evict these."""
        if len(self._presented) >= MAX_PRESENTED:
            del self._presented[next(iter(self._presented))]
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
        refused = _refusal(grant, scope, now)
        if refused is not None:
            raise refused
        self._unlimited()
        return Admitted(grant)

    def _remember(self, key_hash: str, grant: Grant, tag: str, now: datetime) -> _Known:
        former = self._known.get(key_hash)
        if former is None and len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        known = _Known(grant, tag, good_until(grant), now, refresh_below_ms(key_hash))
        if former is not None:
            known.refreshed_at = former.refreshed_at
        self._known[key_hash] = known
        return known

    def _refresh_ahead(self, known: _Known, key: ParsedKey, key_hash: str, now: datetime) -> None:
        """Starts a refresh, at most once in REFRESH_CLAIM: a grant near its own end is always near expiry."""
        if now - known.refreshed_at >= REFRESH_CLAIM:
            known.refreshed_at = now
            task = asyncio.get_running_loop().create_task(self._refresh(key, key_hash))
            self._refreshes.add(task)
            task.add_done_callback(self._refreshes.discard)

    async def _refresh(self, key: ParsedKey, key_hash: str) -> None:
        # If the refresh fails, the record expires, and the next request looks the key up and gets the error.
        with suppress(SignalCloudError):
            if await self._cache.claim_refresh(key_hash, REFRESH_CLAIM.total_seconds()):
                await self._look_up(key, key_hash)

    def _refuse_if_unknown(self, key_hash: str, now: datetime) -> None:
        until = self._unknown.get(key_hash)
        if until is None:
            return
        if now < until:
            raise _key_unknown()
        del self._unknown[key_hash]

    async def _known_or_stored(self, key: ParsedKey, key_hash: str, now: datetime) -> Grant:
        """The grant to use without Redis: this process's while it is fresh, else the key store's."""
        known = self._known.get(key_hash)
        if known is not None and timedelta() <= now - known.seen_at <= KNOWN_FOR:
            return known.grant
        return await self._stored(key, key_hash, now)

    async def _stored(self, key: ParsedKey, key_hash: str, now: datetime) -> Grant:
        """The key store's grant; if it is unavailable, the one this process knows, up to STALE_FOR old."""
        known = self._known.get(key_hash)
        usable = known is not None and timedelta() <= now - known.seen_at <= STALE_FOR
        if known is not None and usable and now < self._store_retry_at:
            return known.grant
        try:
            return await self._look_up(key, key_hash)
        except Unavailable:
            self._store_retry_at = now + KNOWN_FOR
            if known is not None and usable:
                return known.grant
            raise

    async def _look_up(self, key: ParsedKey, key_hash: str) -> Grant:
        """The grant from the key store, cached; concurrent requests share one read."""
        load = self._loads.get(key_hash)
        if load is None:
            load = asyncio.get_running_loop().create_task(self._load(key, key_hash))
            self._loads[key_hash] = load
            load.add_done_callback(lambda done: self._end_load(key_hash, done))
        # Shielded, because other requests wait for the read even if the first one is cancelled.
        return await asyncio.shield(load)

    def _end_load(self, key_hash: str, done: asyncio.Task[Grant]) -> None:
        del self._loads[key_hash]
        if not done.cancelled():
            # Retrieved, so that asyncio does not report an error that no request waits for any more.
            done.exception()

    async def _load(self, key: ParsedKey, key_hash: str) -> Grant:
        asked_at = self._now()
        async with nullcontext() if key_hash in self._known else self._stranger_slot():
            grant = await self._read(key, key_hash)
        now = self._now()
        if grant is None:
            if len(self._unknown) >= MAX_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[key_hash] = now + UNKNOWN_FOR
            raise _key_unknown()
        self._remember(key_hash, grant, NO_TAG, asked_at)
        if now - asked_at < MAX_LOAD:
            try:
                await self._cache.store_grant(key_hash, grant)
            except Unavailable:
                # The caller's own next call to the cache finds out and goes on without it.
                return grant
        return grant

    async def _read(self, key: ParsedKey, key_hash: str) -> Grant | None:
        api_key = await self._keys.get_key(key.public_id)
        if api_key is not None and not same_hash(api_key.key_hash, key_hash):
            api_key = await self._under_another_pepper(key, key_hash, api_key)
        if api_key is None:
            return None
        license_ = await self._keys.get_license(api_key.license_id)
        return Grant(license=license_, key=api_key) if license_ is not None else None

    async def _under_another_pepper(self, key: ParsedKey, key_hash: str, stored: ApiKey) -> ApiKey | None:
        """`stored` if it is the presented key, hashed under the pepper before or after ours; else None."""
        if stored.previous_hash is not None and same_hash(stored.previous_hash, key_hash):
            return stored
        if self._previous_pepper is None:
            return None
        old_hash = hash_key(key.text, self._previous_pepper)
        if not same_hash(stored.key_hash, old_hash):
            return None
        # Stored before it is cached, because a revocation updates the caches under the stored hashes.
        now = self._now()
        return await self._keys.update_key(
            stored.public_id, lambda current: rehashed_key(current, old_hash, key_hash, now)
        )

    @asynccontextmanager
    async def _stranger_slot(self) -> AsyncIterator[None]:
        """Takes a slot for a key that this process has never seen valid; waits for a bounded time."""
        try:
            async with asyncio.timeout(STRANGER_WAIT_S):
                await self._strangers.acquire()
        except TimeoutError as error:
            raise KeyStoreUnavailable(
                "Too many keys are being looked up; try again.",
                internal="every slot for lookups of never seen keys is taken",
                retry_after_s=1,
            ) from error
        try:
            yield
        finally:
            self._strangers.release()


def _refusal(grant: Grant, scope: Scope, now: datetime) -> SignalCloudError | None:
    return refusal(grant, now) or scope_refusal(grant, scope)


def refresh_below_ms(key_hash: str) -> int:
    """The remaining life, in milliseconds, below which a key's record is refreshed; by its hash in hex."""
    low, high = REFRESH_BEFORE_MS
    return low + (high - low) * int(key_hash[:4], 16) // 0xFFFF


def _bearer(authorization: str | None) -> str:
    """The credential in a Bearer header (RFC 6750); raises Unauthenticated."""
    if not authorization:
        raise KeyMissing("An API key is required: send `Authorization: Bearer sc_live_...`.")
    scheme, _, credential = authorization.partition(" ")
    if len(authorization) > _MAX_AUTHORIZATION:
        raise KeyMalformed("The Authorization header is too long for a key.")
    if scheme.lower() != "bearer":
        raise KeyMalformed("The Authorization header must begin with Bearer.")
    return credential.strip(" ")


def _key_unknown() -> Unauthenticated:
    return KeyUnknown("This API key was never issued.")
