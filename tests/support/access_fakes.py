"""Stateful stand-ins for Redis and Table Storage, as far as access and licenses use them."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shared.domain.access.admission import NO_TAG, Admission, decode_record, encode_record
from shared.domain.access.endings import Ending
from shared.domain.access.licenses import ApiKey, Grant, License, is_hashed_since, refusal
from shared.domain.access.rate_limit import REFUSED, Limits, LimitState, RateState, limits_of
from shared.domain.confidence.answers import CacheResult, ModelOutput
from shared.errors import (
    CacheUnavailable,
    Conflict,
    DatabaseUnavailable,
    KeyStoreUnavailable,
    NotFound,
    RealtimeUnavailable,
)
from tests.support.rate_model import RateModel


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def timestamp(self) -> float:
        return self.time.timestamp()

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class FakeCache:
    """Grants by revision, a sliding log per key, confidences and their locks; `away` makes it fail."""

    def __init__(self, clock: Clock, window_s: float = 60.0) -> None:
        self.clock = clock
        self.model = RateModel(round(window_s * 1e6), 1_000_000)
        self.away = False
        self.forgetful = False
        self.records: dict[str, tuple[int, Limits, bytes]] = {}
        self.confidences: dict[str, ModelOutput] = {}
        self.locks: dict[str, str] = {}
        self.claims: dict[str, datetime] = {}
        self.ends_at: dict[str, datetime] = {}
        self.admits = 0

    async def take_request(
        self,
        key_hash: str,
        tag: str = NO_TAG,
        confidence_key: str | None = None,
        cost: int = 1,
        paid: int = 0,
    ) -> Admission | None:
        self._answer()
        self.admits += 1
        if key_hash not in self.records or self.clock() >= self.ends_at[key_hash]:
            return None
        _, limits, whole = self.records[key_hash]
        record = None if decode_record(whole)[0] == tag else whole
        now = self.clock()
        life_ms = round((self.ends_at[key_hash] - now).total_seconds() * 1000)
        if limits == REFUSED:
            return Admission(record, allowed=False, rate=None, life_ms=life_ms)
        rate, allowed = self._rate(key_hash, decode_record(whole)[1], limits, cost, paid)
        cache_result = None
        if confidence_key is not None:
            cache_result = self._find(confidence_key) if allowed else CacheResult(confidence_key)
        return Admission(record, allowed, rate, life_ms, cache_result)

    def _rate(
        self, key_hash: str, grant: Grant, limits: Limits, cost: int, paid: int
    ) -> tuple[RateState, bool]:
        now, license_id = round(self.clock().timestamp() * 1e6), grant.license.license_id
        verdict = self.model.take(key_hash, license_id, limits, now, cost=cost, paid=paid)
        oldest = min(each for each in [*self.model.keys[key_hash], now] if each >= now - self.model.window)
        grows_us = oldest + self.model.window - now
        others: list[LimitState] = []
        if limits.burst:
            wait_us = verdict.waits.get("burst")
            left = None if wait_us is None else 0
            others.append(LimitState("burst", limits.burst, 1, left, _seconds(wait_us or 1)))
        if verdict.license_left is not None:
            reset_s = _seconds(verdict.waits.get("license", self.model.window))
            others.append(LimitState("license", limits.license, 60, verdict.license_left, reset_s))
        refused_by = max(verdict.waits, key=lambda name: verdict.waits[name], default="key")
        reset_s = _seconds(verdict.waits.get("key", grows_us + 1))
        state = RateState(limits.key, verdict.key_left, reset_s, tuple(others), refused_by)
        return state, verdict.allowed

    def _find(self, key: str) -> CacheResult:
        if key in self.confidences:
            return CacheResult(key, self.confidences[key], 7)
        token = f"token {self.admits}"
        return CacheResult(key, lock_token=token if self.locks.setdefault(key, token) == token else None)

    async def store_grant(self, key_hash: str, grant: Grant) -> None:
        self._answer()
        if self.forgetful or self.records.get(key_hash, (0, REFUSED, b""))[0] > grant.revision:
            return
        self.ends_at[key_hash] = self.clock() + timedelta(seconds=60)
        limits = REFUSED if refusal(grant, self.clock()) else limits_of(grant.terms)
        self.records[key_hash] = (grant.revision, limits, encode_record(grant, limits))

    async def store_grants(self, grants: Iterable[tuple[str, Grant]]) -> None:
        for key_hash, grant in grants:
            await self.store_grant(key_hash, grant)

    async def grant_record(self, key_hash: str) -> bytes | None:
        self._answer()
        if key_hash not in self.records or self.clock() >= self.ends_at[key_hash]:
            return None
        return self.records[key_hash][2]

    async def claim_refresh(self, key_hash: str, life_s: float) -> bool:
        self._answer()
        if self.claims.get(key_hash, self.clock()) > self.clock():
            return False
        self.claims[key_hash] = self.clock() + timedelta(seconds=life_s)
        return True

    async def release(self, key: str, token: str) -> bool:
        self._answer()
        if self.locks.get(key) != token:
            return False
        del self.locks[key]
        return True

    def _answer(self) -> None:
        if self.away:
            raise CacheUnavailable("away")


def _seconds(wait_us: int) -> float:
    """The clock of tests stands still, so that the microsecond after a window would round to a second."""
    return (wait_us - 1) / 1e6


class FakeKeyStore:
    """Licenses and keys in two dicts; `away` makes it fail, `taken` refuses that many inserts of keys.

    While it `is_busy`, others change or add the same at the same time, so that each change is a conflict.
    """

    def __init__(self) -> None:
        self.licenses: dict[str, License] = {}
        self.keys: dict[str, ApiKey] = {}
        self.recorded_endings: set[Ending] = set()
        self.away = False
        self.taken = 0
        self.is_busy = False
        self.reads = 0
        self.transactions: list[int] = []

    async def get_license(self, license_id: str) -> License | None:
        self._answer()
        return self.licenses.get(license_id)

    async def get_key(self, public_id: str) -> ApiKey | None:
        self._answer()
        self.reads += 1
        return self.keys.get(public_id)

    async def keys_of(self, license_id: str) -> list[ApiKey]:
        self._answer()
        return [key for key in self.keys.values() if key.license_id == license_id]

    async def keys_hashed_before(self, moment: datetime) -> list[ApiKey]:
        self._answer()
        return [key for key in self.keys.values() if not is_hashed_since(key, moment)]

    async def has_account(self, account_id: str) -> bool:
        self._answer()
        return any(each.account_id == account_id for each in self.licenses.values())

    async def licenses_of(self, account_id: str) -> list[License]:
        self._answer()
        return [each for each in self.licenses.values() if each.account_id == account_id]

    async def license_pages(self) -> AsyncIterator[list[License]]:
        self._answer()
        for each in list(self.licenses.values()):
            yield [each]

    async def key_pages(self) -> AsyncIterator[list[ApiKey]]:
        self._answer()
        for each in list(self.keys.values()):
            yield [each]

    async def ending_pages(self) -> AsyncIterator[list[Ending]]:
        self._answer()
        yield sorted(self.recorded_endings, key=lambda each: (each.at, each.subject))

    async def endings(self, since: datetime, until: datetime, limit: int) -> list[Ending]:
        self._answer()
        found = [each for each in self.recorded_endings if since <= each.at <= until]
        return sorted(found, key=lambda each: (each.at, each.subject))[:limit]

    async def add_endings(self, endings: Sequence[Ending]) -> None:
        self._answer()
        named = {(each.at, each.subject) for each in endings}
        others = {each for each in self.recorded_endings if (each.at, each.subject) not in named}
        self.recorded_endings = others | set(endings)

    async def remove_ending(self, ending: Ending) -> None:
        self._answer()
        self.recorded_endings.discard(ending)

    async def add_license(self, license_: License) -> None:
        self._answer()
        self._be_busy()
        self.licenses[license_.license_id] = license_

    async def add_keys(self, keys: Sequence[ApiKey]) -> None:
        self._answer()
        self._be_busy()
        if self.taken:
            self.taken -= 1
            raise Conflict("taken")
        if self.keys.keys() & {key.public_id for key in keys}:
            raise Conflict("taken")
        self.keys.update({key.public_id: key for key in keys})
        self.transactions.append(len(keys))

    async def ended_licenses(self, plan: str, before: datetime, limit: int) -> list[License]:
        self._answer()
        found = [each for each in self.licenses.values() if each.plan == plan]
        return [each for each in found if each.expires_at is not None and each.expires_at < before][:limit]

    async def remove_license(self, license_id: str) -> None:
        self._answer()
        self.keys = {name: key for name, key in self.keys.items() if key.license_id != license_id}
        self.licenses.pop(license_id, None)

    async def update_license(self, license_id: str, change: Callable[[License], License]) -> License:
        self._answer()
        self._be_busy()
        if license_id not in self.licenses:
            raise NotFound("no such license")
        self.licenses[license_id] = change(self.licenses[license_id])
        return self.licenses[license_id]

    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        self._answer()
        self._be_busy()
        if public_id not in self.keys:
            raise NotFound("no such key")
        self.keys[public_id] = change(self.keys[public_id])
        return self.keys[public_id]

    def _be_busy(self) -> None:
        if self.is_busy:
            raise Conflict("others change it")

    def _answer(self) -> None:
        if self.away:
            raise KeyStoreUnavailable("away")


class FakeExports:
    """Blobs by name, which are only ever added; `away` makes it fail."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.away = False

    async def add(self, name: str, content: bytes) -> None:
        if self.away:
            raise KeyStoreUnavailable("away")
        if name in self.blobs:
            raise Conflict("taken")
        self.blobs[name] = content


class FakeHub:
    """Remembers which groups' connections were closed, and why."""

    def __init__(self) -> None:
        self.away = False
        self.closed: list[tuple[str, str]] = []

    async def close_group(self, group: str, reason: str) -> None:
        if self.away:
            raise RealtimeUnavailable("away")
        self.closed.append((group, reason))


class FakeAudit:
    """Entries as (actor, action, subject), and the details of each; `away` makes it fail."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str]] = []
        self.details: list[Mapping[str, object]] = []
        self.away = False

    async def write(self, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        if self.away:
            raise DatabaseUnavailable("away")
        self.entries.append((actor, action, subject))
        self.details.append(detail)
