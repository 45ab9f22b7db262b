"""Who may call: every request's key is verified here, in one fixed order.

1. a Bearer key is there (key_missing), its form and checksum hold (key_malformed)
2. somebody issued it (key_unknown); it is not revoked or expired (key_revoked, key_expired)
3. its license is not revoked, suspended or expired (license_revoked, license_suspended, license_expired)
4. the key has the scope (scope_missing)
5. the key is within its rate limit (rate_limited)

A key is known by its hash under the pepper. Where a previous pepper is accepted too, a key that is stored
under that one is hashed anew when it is looked up, once for good; see docs/operations.md, Rotate the pepper.

A request that fails 1 to 3 counts against no limit; one that fails 4 does, so that misuse is limited too.

How long a revocation takes: with Redis up, every process refuses the key from its next request on, as
each request is held against the record in Redis, which is sent along where it is another than before.
Without Redis, a process trusts what it last knew of a key for KNOWN_FOR, and where Table Storage is away
as well, for STALE_FOR; then the check stays closed (key_store_unavailable). A revocation that could not
reach Redis takes effect there when the record is read again, 60 seconds after it was cached at the latest.
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

# A key that nobody issued is remembered this long. It has a valid checksum all the same, so somebody
# makes keys up: how many lookups of never seen keys run at once is bounded, those of known keys are not.
UNKNOWN_FOR = timedelta(seconds=5)
MAX_UNKNOWN = 10_000
# Authorization headers of keys in use, so that a bot's key is parsed and hashed once and not every time.
MAX_PRESENTED = 10_000
MAX_STRANGER_LOOKUPS = 32
STRANGER_WAIT_S = 3.0

# The record of a key in use is read again in the background before it ends, since its end makes requests
# wait for Table Storage. It has from 10 to 40 s to live then, by its key, for keys loaded together end
# together. One process reads it for all.
REFRESH_BEFORE_MS = (10_000, 40_000)
REFRESH_CLAIM = timedelta(seconds=10)

# A grant that took longer to read is not cached: a revocation's own record may have run out meanwhile.
MAX_LOAD = timedelta(seconds=20)

_MAX_AUTHORIZATION = 200
# Before every time that anything happened at.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AccessCache(Protocol):
    def admit(
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
    """An admitted request. `rate` is None while the limiter is open, and so is `lookup`.

    Where the lookup says that this request is to compute the confidence, `AccessService.release` gives
    the lock back when it does not.
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
        # While Table Storage is away, known keys wait for it only once in a while.
        self._store_retry_at = EPOCH

    async def admit(
        self, authorization: str | None, scope: Scope, *, confidence_key: str | None = None
    ) -> Admitted:
        """The grant of the key in an `Authorization` header, with its quota and the confidence asked for.

        Raises Unauthenticated, Forbidden, RateLimited, and KeyStoreUnavailable.
        """
        presented = self._presented.get(authorization or "")
        key, key_hash = presented or self._parsed(authorization)
        now = self._now()
        if self._unknown:
            self._refuse_if_unknown(key_hash, now)
        known = self._known.get(key_hash)
        try:
            admission = await self._cache.admit(key_hash, known.tag if known else NO_TAG, confidence_key)
            if admission is None:
                loaded = await self._stored(key, key_hash, now)
                known = None
                admission = await self._cache.admit(key_hash, confidence_key=confidence_key)
        except CacheUnavailable:
            return self._admit_unlimited(await self._known_or_stored(key, key_hash, now), scope, now)
        if admission is None:
            # Redis did not keep the record, or Table Storage is away and it was never put there.
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
            # Written by a process whose clock is ahead of ours: the grant ends within that skew.
            return self._admit_unlimited(grant, scope, now)
        if not admission.allowed:
            raise rate_limited(admission.rate)
        return admitted

    def _parsed(self, authorization: str | None) -> tuple[ParsedKey, str]:
        key = parse_key(_bearer(authorization))
        return key, hash_key(key.text, self._pepper)

    def _keep_presented(self, authorization: str, key: ParsedKey, key_hash: str) -> None:
        """Remembers the header of a key that somebody issued; made-up ones could only push those out."""
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
                # The lock ends by itself within its second.
                return

    def _admit_unlimited(self, grant: Grant, scope: Scope, now: datetime) -> Admitted:
        """Admits where there is no cache to count in; raises the refusals of 2 to 4."""
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
        """Has a grant read again; the record of one that is about to end itself has little life each time."""
        if now - known.refreshed_at >= REFRESH_CLAIM:
            known.refreshed_at = now
            task = asyncio.get_running_loop().create_task(self._refresh(key, key_hash))
            self._refreshes.add(task)
            task.add_done_callback(self._refreshes.discard)

    async def _refresh(self, key: ParsedKey, key_hash: str) -> None:
        # What fails shows when the record has ended: then a request asks, and is told.
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
        """What to go by without Redis: what this process knows, while it is fresh, else the key store."""
        known = self._known.get(key_hash)
        if known is not None and timedelta() <= now - known.seen_at <= KNOWN_FOR:
            return known.grant
        return await self._stored(key, key_hash, now)

    async def _stored(self, key: ParsedKey, key_hash: str, now: datetime) -> Grant:
        """The key store's grant, or while it is away the one this process knows, up to STALE_FOR old."""
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
        """The grant from the key store, read once for all who ask at the same time, and cached."""
        load = self._loads.get(key_hash)
        if load is None:
            load = asyncio.get_running_loop().create_task(self._load(key, key_hash))
            self._loads[key_hash] = load
            load.add_done_callback(lambda done: self._end_load(key_hash, done))
        # Shielded, since the others wait for it even if who asked first goes away.
        return await asyncio.shield(load)

    def _end_load(self, key_hash: str, done: asyncio.Task[Grant]) -> None:
        del self._loads[key_hash]
        if not done.cancelled():
            # Taken note of, in case everybody who waited has gone away.
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
        """`stored` where it is the presented key, hashed under the pepper before or after ours."""
        if stored.previous_hash is not None and same_hash(stored.previous_hash, key_hash):
            return stored
        if self._previous_pepper is None:
            return None
        old_hash = hash_key(key.text, self._previous_pepper)
        if not same_hash(stored.key_hash, old_hash):
            return None
        # Stored before it is cached: a revocation reaches the caches by the hashes that are stored.
        now = self._now()
        return await self._keys.update_key(
            stored.public_id, lambda current: rehashed_key(current, old_hash, key_hash, now)
        )

    @asynccontextmanager
    async def _stranger_slot(self) -> AsyncIterator[None]:
        """One of the slots for keys that this process has never seen valid; waits a bounded time for it."""
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
    """With how much life left the record of a key (by its hash in hex) is read again."""
    low, high = REFRESH_BEFORE_MS
    return low + (high - low) * int(key_hash[:4], 16) // 0xFFFF


def _bearer(authorization: str | None) -> str:
    """The credential of a Bearer header, as RFC 6750 writes it; raises Unauthenticated."""
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
