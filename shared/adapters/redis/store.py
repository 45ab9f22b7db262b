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
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.adapters.redis.admit_call import AdmitCall, AdmitRequest, Reply
from shared.adapters.redis.connection import SharedConnection, unavailable
from shared.adapters.redis.names import closed_key, license_key, lock_key, refresh_key
from shared.domain.access.admission import NO_TAG, Admission, encode_record
from shared.domain.access.licenses import Grant, refusal, valid_until
from shared.domain.access.rate_limit import WINDOW_S
from shared.domain.confidence.answers import (
    CONFIDENCE_TTL_S,
    CacheResult,
    ModelOutput,
    decode_output,
    encode_output,
)
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

log = logging.getLogger(__name__)

_LUA = Path(__file__).parent.parent / "lua"


class _Script(NamedTuple):
    sha: str
    source: str


@cache
def _script(name: str) -> _Script:
    source = (_LUA / f"{name}.lua").read_text(encoding="utf-8")
    return _Script(hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), source)


class RedisStore:
    """The cache of one event loop. Every method raises CacheUnavailable during an outage."""

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
        self._admits: list[AdmitRequest] = []
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
        self, key_hash: str, tag: str = NO_TAG, confidence_key: str | None = None
    ) -> Awaitable[Admission | None]:
        """License, rate limit and cached confidence of one request, in one round trip with all others.

        One such call is under way at a time: a request that finds none leaves at once, those that come
        meanwhile share the next. So the busier a process is, the more requests share what a call costs.
        Who waits behind a slow call has the time of two, and fails with it where it fails.

        None where the license is not cached. `tag` is of the license record that the caller has.
        """
        if not self._admits and not self._is_admitting:  # else another one saw to it
            self._connection.expect_write()
        future = asyncio.get_running_loop().create_future()
        self._admits.append(AdmitRequest(key_hash, tag, confidence_key, future))
        return traced(future, "admit", "redis")

    async def store_grant(self, key_hash: str, grant: Grant) -> None:
        """Caches `grant`, unless one of a later revision is there; it revokes, too."""
        await self._script("store_grant", *self._grant_command(key_hash, grant))

    async def store_grants(self, grants: Iterable[tuple[str, Grant]]) -> None:
        """`store_grant` for many, in one write."""
        commands = [self._grant_command(key_hash, grant) for key_hash, grant in grants]
        await asyncio.gather(*(self._script("store_grant", keys, arguments) for keys, arguments in commands))

    async def claim_refresh(self, key_hash: str, life_s: float) -> bool:
        """Whether the caller is the one, for `life_s` seconds, to read that key's license again."""
        answer = await self._ask("SET", refresh_key(key_hash), 1, "NX", "PX", math.ceil(life_s * 1000))
        return answer is not None

    async def get_confidence(self, key: str) -> CacheResult | None:
        """The cached confidence, a lookup without one while somebody computes it, None if nobody does."""
        held, value, life_ms = await self._script("get_confidence", (key, lock_key(key)), ())
        output = decode_output(value) if value is not None else None
        if output is not None and life_ms >= 0:
            return CacheResult(key, output, max(0, round(CONFIDENCE_TTL_S * 1e3) - life_ms))
        return CacheResult(key) if held else None

    async def put_confidences(self, entries: Sequence[tuple[str, ModelOutput, str | None]]) -> None:
        """Caches (key, output, lock token) each, and releases the lock where the token holds it."""
        _, life_ms, _ = self._limits
        keys = [part for key, _, _ in entries for part in (key, lock_key(key))]
        arguments = [part for _, output, token in entries for part in (encode_output(output), token or "")]
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
        while self._admits and not self._is_admitting:
            batch, self._admits = self._admits[:MAX_ADMITS_PER_CALL], self._admits[MAX_ADMITS_PER_CALL:]
            token = f"{self._token_base}.{next(self._tokens)}"
            try:
                self._send_admits(AdmitCall(batch, token), "EVALSHA")
            except Exception as defect:
                log.exception("a call of admit.lua cannot be made")
                _fail(batch, defect)

    def _send_admits(self, call: AdmitCall, how: str) -> None:
        script = _script("admit")
        command = call.command(how, script.sha if how == "EVALSHA" else script.source, self._limits)
        self._connection.enqueue(command).add_done_callback(partial(self._hand_out, call))
        self._is_admitting = True

    def _hand_out(self, call: AdmitCall, answer: "asyncio.Future[Reply]") -> None:
        from redis.exceptions import NoScriptError

        self._is_admitting = False
        error = answer.exception()
        if isinstance(error, NoScriptError):
            try:
                self._connection.expect_write()
                self._send_admits(call, "EVAL")
            except Exception as failure:  # noqa: BLE001 - the requests are told
                error = failure
            else:
                return
        if self._admits:
            self._admit_waiting()
        if error is None:
            try:
                call.hand_out(answer.result())
            except Exception as defect:
                # Nobody may be left waiting for an answer that cannot be read.
                log.exception("the answer of admit.lua cannot be read")
                error = defect
        if error is not None:
            _fail(call.batch, error)

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


def _fail(requests: Iterable[AdmitRequest], error: BaseException) -> None:
    for request in requests:
        if not request.future.done():
            request.future.set_exception(_unavailable(error))


def _unavailable(error: BaseException) -> Unavailable:
    return unavailable(
        error.internal if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
    )
