"""What we keep in Redis, and the one call of the hot path.

Redis only caches: licenses and keys are at home in Table Storage, and all it holds may vanish at any
time. Every key has a TTL. `admit` names keys of two hash slots (license and rate, confidence and lock),
which needs a server of one shard, as Azure Managed Redis with the NoCluster policy is.
"""

import asyncio
import hashlib
import itertools
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from shared.adapters.redis.connection import SharedConnection, unavailable
from shared.domain.admission import NO_TAG, Admission, encode_record
from shared.domain.confidence import (
    CONFIDENCE_TTL_S,
    Lookup,
    Verdict,
    decode_verdict,
    encode_verdict,
)
from shared.domain.licenses import Grant, refusal, valid_until
from shared.domain.rate_limit import WINDOW_S, RateState
from shared.errors import Unavailable
from shared.telemetry import traced

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

CONNECT_TIMEOUT_S = 1.0
SOCKET_TIMEOUT_S = 0.25

GRANT_TTL_S = 60.0
# Far longer than one evaluation; who waits for a dead lock-holder has a shorter deadline of its own.
LOCK_TTL_S = 1.0
COUNTERS_KEY = "counters"
COUNTERS_TTL_S = 24 * 3600

# Bounds what one script call holds Redis up for, about 10 us a request; numbers fit into a byte.
MAX_ADMITS_PER_CALL = 255
# Of API keys whose names here are kept made.
MAX_REMEMBERED_KEYS = 16_384

log = logging.getLogger(__name__)

_LUA = Path(__file__).parent.parent / "lua"


def license_key(key_hash: str) -> str:
    """The license record of one API key; its form is in shared/domain/admission.py."""
    return f"license:{{{key_hash}}}"


def refresh_key(key_hash: str) -> str:
    """Held by the process that reads the license again."""
    return f"license:{{{key_hash}}}:refresh"


def rate_key(key_hash: str) -> str:
    """The times of one API key's requests in the last window."""
    return f"rate:{{{key_hash}}}:window"


def closed_key(account_id: str) -> str:
    """When an account's connections were closed, for as long as older client access URLs live."""
    return f"closed:{{{account_id}}}"


@lru_cache(MAX_REMEMBERED_KEYS)
def _keys_of(key_hash: str) -> tuple[str, str]:
    return license_key(key_hash), rate_key(key_hash)


def lock_key(confidence_key: str) -> str:
    """Held, as a random token, by who computes that confidence."""
    return f"lock:{confidence_key}"


class _Request(msgspec.Struct, gc=False):
    key_hash: str
    tag: bytes
    confidence_key: str | None
    future: asyncio.Future[Admission | None]


class _Script(NamedTuple):
    sha: str
    source: str


@cache
def _script(name: str) -> _Script:
    source = (_LUA / f"{name}.lua").read_text(encoding="utf-8")
    return _Script(hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), source)


class RedisStore:
    """The cache of one event loop. Every method raises Unavailable("cache_unavailable") during an outage."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        socket_timeout_s: float = SOCKET_TIMEOUT_S,
        window_s: float = WINDOW_S,
        credential_provider: "CredentialProvider | None" = None,
    ) -> None:
        """`url` is redis://, rediss:// or unix://, with user and password where there is no provider."""
        self._limits = (round(window_s * 1e6), round(CONFIDENCE_TTL_S * 1e3), round(LOCK_TTL_S * 1e3))
        self._admits: list[_Request] = []
        self._is_admitting = False
        # Lock tokens need only differ: one random part a process, and a count.
        self._token_base = secrets.token_hex(8)
        self._tokens = itertools.count()
        self._connection = SharedConnection(
            url,
            connect_timeout_s=connect_timeout_s,
            socket_timeout_s=socket_timeout_s,
            credential_provider=credential_provider,
            before_write=self._gather_admits,
        )

    @property
    def is_away(self) -> bool:
        return self._connection.is_away

    @property
    def outage_count(self) -> int:
        """Outages since the start; requests that went unlimited are counted by AccessService."""
        return self._connection.outage_count

    def admit(
        self, key_hash: str, tag: bytes = NO_TAG, confidence_key: str | None = None
    ) -> Awaitable[Admission | None]:
        """License, rate limit and cached confidence of one request, in one round trip with all others.

        One such call is under way at a time: a request that finds none leaves at once, those that come
        meanwhile share the next. So the busier a process is, the more requests share what a call costs.

        None where the license is not cached. `tag` is of the license record that the caller has.
        """
        if not self._admits and not self._is_admitting:  # else another one saw to it
            self._connection.expect_write()
        future = asyncio.get_running_loop().create_future()
        self._admits.append(_Request(key_hash, tag, confidence_key, future))
        return traced(future, "admit", "redis")

    async def put_grant(self, key_hash: str, grant: Grant) -> None:
        """Caches `grant`, unless one of a later revision is there; it revokes, too."""
        await self._script("put_grant", *self._grant_command(key_hash, grant))

    async def put_grants(self, grants: Iterable[tuple[str, Grant]]) -> None:
        """`put_grant` for many, in one write."""
        commands = [self._grant_command(key_hash, grant) for key_hash, grant in grants]
        await asyncio.gather(*(self._script("put_grant", keys, arguments) for keys, arguments in commands))

    async def claim_refresh(self, key_hash: str, life_s: float) -> bool:
        """Whether the caller is the one, for `life_s` seconds, to read that key's license again."""
        answer = await self._ask("SET", refresh_key(key_hash), 1, "NX", "PX", math.ceil(life_s * 1000))
        return answer is not None

    async def get_confidence(self, key: str) -> Lookup | None:
        """The cached confidence, a lookup without one while somebody computes it, None if nobody does."""
        # The lock first: its holder lets go of it when the value is there.
        held, value, life_ms = await asyncio.gather(
            self._ask("EXISTS", lock_key(key)), self._ask("GET", key), self._ask("PTTL", key)
        )
        verdict = decode_verdict(value) if value is not None else None
        if verdict is not None and life_ms >= 0:
            return Lookup(key, verdict, max(0, round(CONFIDENCE_TTL_S * 1e3) - life_ms))
        return Lookup(key) if held else None

    async def put_confidences(self, entries: Sequence[tuple[str, Verdict, str | None]]) -> None:
        """Caches (key, verdict, lock token) each, and releases the lock where the token holds it."""
        _, life_ms, _ = self._limits
        keys = [part for key, _, _ in entries for part in (key, lock_key(key))]
        arguments = [part for _, verdict, token in entries for part in (encode_verdict(verdict), token or "")]
        await self._script("put_confidences", keys, (life_ms, *arguments))

    async def release(self, key: str, token: str) -> bool:
        """Lets go of the lock on the confidence `key`; False where `token` does not hold it."""
        return bool(await self._script("release", (lock_key(key),), (token,)) == 1)

    async def put_closed(self, account_id: str, at: float, life_s: float) -> None:
        """Remembers for `life_s` seconds when an account's connections were closed (epoch seconds)."""
        await self._ask("SET", closed_key(account_id), repr(at), "PX", math.ceil(life_s * 1000))

    async def closed_at(self, account_id: str) -> float | None:
        found: bytes | None = await self._ask("GET", closed_key(account_id))
        return float(found) if found is not None else None

    async def add_counts(self, counts: dict[str, int]) -> None:
        """Adds to the counts that all processes share."""
        adding = [self._ask("HINCRBY", COUNTERS_KEY, name, count) for name, count in counts.items()]
        await asyncio.gather(*adding, self._ask("EXPIRE", COUNTERS_KEY, COUNTERS_TTL_S))

    async def counts(self) -> dict[str, int]:
        flat: list[bytes] = await self._ask("HGETALL", COUNTERS_KEY)
        return {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}

    async def ping(self) -> float:
        """Seconds for one round trip."""
        start = time.perf_counter()
        await self._ask("PING")
        return time.perf_counter() - start

    async def close(self) -> None:
        await self._connection.close()
        self._fail_waiting(unavailable("closed"))

    def _grant_command(self, key_hash: str, grant: Grant) -> tuple[Sequence[str], Sequence[bytes | int]]:
        now = datetime.now(UTC)
        end = valid_until(grant)
        life = timedelta(seconds=GRANT_TTL_S)
        if end is not None and now < end < now + life:
            life = end - now
        limit = 0 if refusal(grant, now) else grant.license.requests_per_minute
        return (license_key(key_hash),), (
            grant.revision,
            encode_record(grant, limit),
            max(1, math.ceil(life / timedelta(milliseconds=1))),
        )

    def _gather_admits(self) -> None:
        """Makes one script call of the admits asked for so far, unless one is under way."""
        if self._admits and not self._is_admitting:
            batch, self._admits = self._admits[:MAX_ADMITS_PER_CALL], self._admits[MAX_ADMITS_PER_CALL:]
            self._send_admits(batch, "EVALSHA")

    def _send_admits(self, batch: list[_Request], how: str) -> None:
        keys: list[str] = []
        asked: dict[str, int] = {}
        asked_for = bytearray()
        tags: list[bytes] = []
        for request in batch:
            keys += _keys_of(request.key_hash)
            key = request.confidence_key
            asked_for.append(0 if key is None else asked.setdefault(key, len(asked) + 1))
            tags.append(request.tag)
        for key in asked:
            keys += (key, lock_key(key))
        self._is_admitting = True
        token = f"{self._token_base}.{next(self._tokens)}"
        script = _script("admit")
        body = script.sha if how == "EVALSHA" else script.source
        call = self._connection.enqueue(
            (how, body, len(keys), *keys, *self._limits, token, bytes(asked_for), *tags)
        )
        call.add_done_callback(partial(self._share_out, batch, asked, token))

    def _share_out(
        self,
        batch: list[_Request],
        asked: dict[str, int],
        token: str,
        call: "asyncio.Future[tuple[list[list[Any]], list[list[Any]]]]",
    ) -> None:
        from redis.exceptions import NoScriptError

        self._is_admitting = False
        error = call.exception()
        if isinstance(error, NoScriptError):
            try:
                self._connection.expect_write()
                self._send_admits(batch, "EVAL")
            except Unavailable as away:
                error = away
            else:
                return
        if self._admits:
            self._admit_waiting()
        if error is None:
            try:
                answers, confidences = call.result()
                lookups = _lookups_of(batch, asked, confidences, token)
                for request, answer, lookup in zip(batch, answers, lookups, strict=True):
                    if not request.future.done():
                        request.future.set_result(_admission(answer, lookup))
            except Exception as defect:
                # Nobody may be left waiting for an answer that cannot be read.
                log.exception("the answer of admit.lua cannot be read")
                error = defect
        if error is not None:
            _fail(batch, error)

    def _admit_waiting(self) -> None:
        try:
            self._connection.expect_write()
        except Unavailable as away:
            self._fail_waiting(away)

    def _fail_waiting(self, error: Unavailable) -> None:
        waiting, self._admits = self._admits, []
        _fail(waiting, error)

    async def _script(self, name: str, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        from redis.exceptions import NoScriptError

        script = _script(name)
        try:
            return await self._ask("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except Unavailable as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        # The server is new or forgot its scripts; EVAL loads the source and runs it.
        return await self._ask("EVAL", script.source, len(keys), *keys, *arguments)

    async def _ask(self, *command: bytes | str | int | float) -> Any:
        from redis.exceptions import ResponseError

        try:
            return await traced(self._connection.ask(command), str(command[0]), "redis")
        except ResponseError as error:
            raise _unavailable(error) from error


def _lookups_of(
    batch: Sequence[_Request], asked: Iterable[str], confidences: Sequence[Sequence[Any]], token: str
) -> list[Lookup | None]:
    """What each request of a batch finds of the confidence it asks for, from what admit.lua says of each."""
    by_key: dict[str | None, Lookup] = {}
    leaders: dict[int, Lookup] = {}
    for key, found in zip(asked, confidences, strict=True):
        if len(found) == 2:
            value, age_ms = found
            by_key[key] = Lookup(key, decode_verdict(value), age_ms)
            continue
        by_key[key] = Lookup(key)
        for leader in found:
            leaders[leader] = Lookup(key, lock_token=token)
    lookups = [by_key.get(request.confidence_key) for request in batch]
    for number, lookup in leaders.items():
        lookups[number] = lookup
    return lookups


def _admission(answer: Sequence[Any], lookup: Lookup | None) -> Admission | None:
    """What admit.lua answers to one request."""
    if not answer:
        return None
    limit, remaining, reset_us, life_ms, record = answer
    rate = RateState(limit, max(0, remaining), reset_us / 1e6) if limit else None
    return Admission(record, remaining >= 0, rate, life_ms, lookup)


def _fail(requests: Iterable[_Request], error: BaseException) -> None:
    for request in requests:
        if not request.future.done():
            request.future.set_exception(_unavailable(error))


def _unavailable(error: BaseException) -> Unavailable:
    return unavailable(
        error.internal if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
    )
