"""Finds the grants of API keys: those that this process knows, and those in the key store.

How long a revocation takes is decided here, see shared/services/access.py.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.admission import NO_TAG, decode_record
from shared.domain.access.keys import ParsedKey, hash_key, same_hash
from shared.domain.access.licenses import (
    NEVER,
    ApiKey,
    Grant,
    License,
    good_until,
    newest,
    refusal,
    rehashed_key,
)
from shared.domain.access.plan_catalog import PlanCatalog
from shared.errors import KeyStoreUnavailable, KeyUnknown, SignalCloudError, Unauthenticated, Unavailable
from shared.services.bounded import make_room
from shared.services.ending_watch import EndingReader, EndingWatch

# A request that is admitted just before the end of this time is answered within the 5 s that we promise.
KNOWN_FOR = timedelta(seconds=4)
STALE_FOR = timedelta(seconds=60)
MAX_KNOWN = 10_000

# An unknown key is remembered this long. It has a valid checksum, so somebody invents keys: the number of
# concurrent lookups of never seen keys is bounded, lookups of known keys are not.
UNKNOWN_FOR = timedelta(seconds=5)
MAX_UNKNOWN = 10_000
MAX_STRANGER_LOOKUPS = 8
STRANGER_WAIT_S = 3.0
# A lookup that finds no key keeps its slot this long, so that invented keys get 10 lookups a second of a
# process, each of which costs about 3 ms. A lookup that finds a key frees its slot at once, so that bots that
# are new to a process need not wait.
UNKNOWN_HOLD_S = 0.8

# Refreshes an active key's cached record before it expires, so that no request waits for Table Storage. The
# refresh starts 10 to 40 s before the end; the key decides when, because keys that were loaded together
# also expire together. One process refreshes for all.
REFRESH_BEFORE_MS = (10_000, 40_000)
REFRESH_CLAIM = timedelta(seconds=10)

# A grant that took longer to read is not cached: the record of a revocation may have expired by then.
MAX_LOAD = timedelta(seconds=20)

# Earlier than any event.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class GrantCache(Protocol):
    async def grant_record(self, key_hash: str) -> bytes | None: ...
    async def store_grant(self, key_hash: str, grant: Grant) -> None: ...
    async def claim_refresh(self, key_hash: str, life_s: float) -> bool: ...


class KeyReader(EndingReader, Protocol):
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def get_license(self, license_id: str) -> License | None: ...
    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey: ...


class Known(msgspec.Struct):
    """A grant as this process last saw it.

    `tag` is of its record in Redis. From `good_until` on it may be refused, and is judged in full. `read_at`
    is when this process last read it from the key store.
    """

    grant: Grant
    tag: str
    good_until: datetime
    seen_at: datetime
    refresh_below_ms: int
    refreshed_at: datetime = EPOCH
    read_at: datetime = EPOCH


class Grants:
    """The grants that one event loop has seen. A key is known by its hash under the pepper."""

    def __init__(
        self,
        *,
        cache: GrantCache,
        keys: KeyReader,
        plans: PlanCatalog,
        now: Callable[[], datetime],
        previous_pepper: bytes | None = None,
    ) -> None:
        self._cache = cache
        self._keys = keys
        self._plans = plans
        self._now = now
        self._previous_pepper = previous_pepper
        self.watch = EndingWatch(keys, now=now, noticed=self._doubt, start=EPOCH)
        self._known: dict[str, Known] = {}
        self._unknown: dict[str, datetime] = {}
        self._loads: dict[str, asyncio.Task[Grant]] = {}
        self._strangers = asyncio.Semaphore(MAX_STRANGER_LOOKUPS)
        self._refreshes: set[asyncio.Task[None]] = set()
        # While Table Storage is unavailable, requests of known keys try it again only now and then.
        self._store_retry_at = EPOCH

    def known(self, key_hash: str) -> Known | None:
        """The grant as this process last saw it, however old."""
        return self._known.get(key_hash)

    def remember(
        self, key_hash: str, grant: Grant, tag: str, now: datetime, read_at: datetime = EPOCH
    ) -> Known:
        """Remembers a grant from Redis, or from the key store at `read_at`.

        A later revision that this process knows stays, because Redis may hold a record from before an outage.
        """
        former = self._known.get(key_hash)
        if former is None:
            make_room(self._known, MAX_KNOWN)
        else:
            grant = newest(grant, former.grant)
        good = NEVER if self._is_doubtful(grant, now) else good_until(grant)
        known = Known(grant, tag, good, now, refresh_below_ms(key_hash), read_at=read_at)
        if former is not None:
            known.refreshed_at = former.refreshed_at
            known.read_at = max(read_at, former.read_at)
        self._known[key_hash] = known
        return known

    def _is_doubtful(self, grant: Grant, now: datetime) -> bool:
        """Whether the grant has ended, or may have, so lately that Redis may not know it."""
        has_ended = self.watch.has_ended
        return has_ended(grant.license.license_id, now) or has_ended(grant.key.public_id, now)

    def _doubt(self, subjects: Collection[str]) -> None:
        """Lets the grants of these licenses and keys be judged in full from their next request on."""
        for known in self._known.values():
            if known.grant.license.license_id in subjects or known.grant.key.public_id in subjects:
                known.good_until = NEVER

    async def doubted(self, known: Known, key: ParsedKey, key_hash: str, now: datetime) -> Grant:
        """The grant of a request that is judged in full: the key store's if it may have ended lately.

        Raises Unauthenticated, and Unavailable: a key that may have ended is refused while the key store
        cannot be read.
        """
        if not self._is_doubtful(known.grant, now):
            known.good_until = good_until(known.grant)
            return known.grant
        if refusal(known.grant, now) is not None or timedelta() <= now - known.read_at <= KNOWN_FOR:
            return known.grant
        return await self._look_up(key, key_hash)

    def refresh_ahead(self, known: Known, key: ParsedKey, key_hash: str, now: datetime) -> None:
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

    def refuse_if_unknown(self, key_hash: str, now: datetime) -> None:
        until = self._unknown.get(key_hash)
        if until is None:
            return
        if now < until:
            raise _key_unknown()
        del self._unknown[key_hash]

    async def find(self, key: ParsedKey, key_hash: str, now: datetime) -> Grant:
        """The grant of a key that this process has not seen: the cache's, else the key store's."""
        try:
            record = await self._cache.grant_record(key_hash)
        except Unavailable:
            record = None
        if record is None:
            return await self.stored_or_stale(key, key_hash, now)
        tag, grant = decode_record(record)
        return self.remember(key_hash, grant, tag, now).grant

    async def fresh_or_stored(self, key: ParsedKey, key_hash: str, now: datetime) -> Grant:
        """The grant to use without Redis: this process's while it is fresh, else the key store's."""
        known = self._known.get(key_hash)
        if known is not None and timedelta() <= now - known.seen_at <= KNOWN_FOR:
            return await self.doubted(known, key, key_hash, now)
        return await self.stored_or_stale(key, key_hash, now)

    async def stored_or_stale(self, key: ParsedKey, key_hash: str, now: datetime) -> Grant:
        """The key store's grant; if it is unavailable, the one this process knows, up to STALE_FOR old."""
        known = self._known.get(key_hash)
        usable = (
            known is not None
            and timedelta() <= now - known.seen_at <= STALE_FOR
            and not self._is_doubtful(known.grant, now)
        )
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
        read = self._read if key_hash in self._known else self._read_stranger
        grant = await read(key, key_hash)
        now = self._now()
        if grant is None:
            make_room(self._unknown, MAX_UNKNOWN)
            self._unknown[key_hash] = now + UNKNOWN_FOR
            raise _key_unknown()
        grant = self.remember(key_hash, grant, NO_TAG, asked_at, asked_at).grant
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
        return self._plans.grant(license_, api_key) if license_ is not None else None

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

    async def _read_stranger(self, key: ParsedKey, key_hash: str) -> Grant | None:
        """Reads a key that this process has never seen valid, in one of a few slots.

        Waits for a slot for a bounded time; raises KeyStoreUnavailable.
        """
        try:
            async with asyncio.timeout(STRANGER_WAIT_S):
                await self._strangers.acquire()
        except TimeoutError as error:
            raise KeyStoreUnavailable(
                "Too many keys are being looked up; try again.",
                internal="every slot for lookups of never seen keys is taken",
                retry_after_s=1,
            ) from error
        hold_s = 0.0
        try:
            grant = await self._read(key, key_hash)
            if grant is None:
                hold_s = UNKNOWN_HOLD_S
            return grant
        finally:
            asyncio.get_running_loop().call_later(hold_s, self._strangers.release)


def refresh_below_ms(key_hash: str) -> int:
    """The remaining life, in milliseconds, below which a key's record is refreshed; by its hash in hex."""
    low, high = REFRESH_BEFORE_MS
    return low + (high - low) * int(key_hash[:4], 16) // 0xFFFF


def _key_unknown() -> Unauthenticated:
    return KeyUnknown("This API key was never issued.")
