"""Keeps short-lived records in Redis, and makes the one call of the hot path.

Redis only caches: Table Storage is the source of truth for licenses and keys, and Redis may lose its records
at any time. Every key has a TTL. `take_request` uses keys of two hash slots (license and rate, confidence and
lock), which needs a server with one shard, like Azure Managed Redis with the NoCluster policy.
"""

import asyncio
import hashlib
import itertools
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.adapters.redis.connection import Command, SharedConnection, unavailable
from shared.adapters.redis.names import license_key, lock_key, refresh_key, tries_key
from shared.adapters.redis.request_call import RequestCall, TakenRequest
from shared.domain.access.admission import NO_TAG, Admission, encode_record
from shared.domain.access.licenses import Grant, refusal, valid_until
from shared.domain.access.rate_limit import BURST_WINDOW_S, REFUSED, WINDOW_S, limits_of
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
# Far longer than one evaluation. Requests that wait for a dead lock holder have a shorter deadline.
LOCK_TTL_S = 1.0
COUNTERS_KEY = "counters"
COUNTERS_TTL_S = 24 * 3600

# Bounds the time that one script call blocks Redis, about 10 us per request.
MAX_REQUESTS_PER_CALL = 255

# The keys and the arguments of one call of a script.
type ScriptCall = tuple[Sequence[str], Sequence[bytes | str | int]]
type Ask = Callable[..., Awaitable[list[Any]]]

log = logging.getLogger(__name__)

_LUA = Path(__file__).parent / "lua"


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
        burst_window_s: float = BURST_WINDOW_S,
        credential_provider: "CredentialProvider | None" = None,
    ) -> None:
        """`url` is redis://, rediss:// or unix://, with user and password if there is no provider."""
        windows = round(window_s * 1e6), round(burst_window_s * 1e6)
        self._limits = (*windows, round(CONFIDENCE_TTL_S * 1e3), round(LOCK_TTL_S * 1e3))
        self._requests: list[TakenRequest] = []
        self._taking: asyncio.Task[None] | None = None
        # Lock tokens need only differ from each other: a random part per process, and a count.
        self._token_base = secrets.token_hex(8)
        self._tokens = itertools.count()
        self._connection = SharedConnection(
            url,
            connect_timeout_s=connect_timeout_s,
            socket_timeout_s=socket_timeout_s,
            credential_provider=credential_provider,
        )

    @property
    def is_unavailable(self) -> bool:
        return self._connection.is_unavailable

    @property
    def outage_count(self) -> int:
        """The number of outages since the start. AccessService counts the requests that no limit counted."""
        return self._connection.outage_count

    def take_request(
        self,
        key_hash: str,
        tag: str = NO_TAG,
        confidence_key: str | None = None,
        cost: int = 1,
        paid: int = 0,
    ) -> Awaitable[Admission | None]:
        """Looks up the license, the rate limit and the cached confidence of one request of `cost` units.

        `paid` of them were taken before. If it is refused, it may come again, and then pays all of them.

        All requests in flight share round trips. One call is under way at a time: if there is none, the
        request starts one at once; requests that arrive during a call share the next. So the busier a
        process is, the more requests share the cost of a call. A request waits for at most two calls, and
        fails if the first one fails.

        Returns None if the license is not cached. `tag` is that of the license record that the caller holds.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._requests.append(TakenRequest(key_hash, tag, confidence_key, cost, paid, answer))
        if self._taking is None:
            self._taking = loop.create_task(self._take_all())
        return traced(answer, "take_requests", "redis")

    async def store_grant(self, key_hash: str, grant: Grant) -> None:
        """Caches `grant`, revoked or not, unless Redis holds a later revision."""
        await self.store_grants([(key_hash, grant)])

    async def store_grants(self, grants: Iterable[tuple[str, Grant]]) -> None:
        """`store_grant` for many grants, in one write."""
        calls = [self._grant_call(key_hash, grant) for key_hash, grant in grants]
        if calls:
            await self.run_script("store_grant", *calls)

    async def grant_record(self, key_hash: str) -> bytes | None:
        """The cached record of a grant, as `encode_record` makes it; None if there is none."""
        record: bytes | None
        (record,) = await self._ask(("GET", license_key(key_hash)))
        return record

    async def claim_refresh(self, key_hash: str, life_s: float) -> bool:
        """Whether the caller must refresh the key's license record; others get False for `life_s` seconds."""
        (answer,) = await self._ask(("SET", refresh_key(key_hash), 1, "NX", "PX", math.ceil(life_s * 1000)))
        return answer is not None

    async def get_confidence(self, key: str) -> CacheResult | None:
        """The cached confidence; a result without one while a process computes it; None if none does."""
        ((held, value, life_ms),) = await self.run_script("get_confidence", ((key, lock_key(key)), ()))
        output = decode_output(value) if value is not None else None
        if output is not None and life_ms >= 0:
            return CacheResult(key, output, max(0, round(CONFIDENCE_TTL_S * 1e3) - life_ms))
        return CacheResult(key) if held else None

    async def put_confidences(self, entries: Sequence[tuple[str, ModelOutput, str | None]]) -> None:
        """Caches each (key, output, lock token), and releases the lock if the token holds it."""
        life_ms = self._limits[2]
        keys = [part for key, _, _ in entries for part in (key, lock_key(key))]
        arguments = [part for _, output, token in entries for part in (encode_output(output), token or "")]
        await self.run_script("put_confidences", (keys, (life_ms, *arguments)))

    async def release(self, key: str, token: str) -> bool:
        """Releases the lock on the confidence `key`; returns False if `token` does not hold it."""
        (released,) = await self.run_script("release", ((lock_key(key),), (token,)))
        return bool(released == 1)

    async def add_counts(self, counts: dict[str, int]) -> None:
        """Adds to the counts that all processes share."""
        adding: list[Command] = [("HINCRBY", COUNTERS_KEY, name, count) for name, count in counts.items()]
        await self._ask(*adding, ("EXPIRE", COUNTERS_KEY, COUNTERS_TTL_S))

    async def counts(self) -> dict[str, int]:
        flat: list[bytes]
        (flat,) = await self._ask(("HGETALL", COUNTERS_KEY))
        return {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}

    async def count_try(self, what: str, window_s: int) -> tuple[int, float]:
        """Counts one try; returns the number in its window, and the seconds until the window ends.

        The first try begins a window of `window_s`.
        """
        key = tries_key(what)
        _, count, life_ms = await self._ask(
            ("SET", key, 0, "NX", "EX", window_s), ("INCR", key), ("PTTL", key)
        )
        return count, max(0, life_ms) / 1000

    async def ping(self) -> float:
        """Returns the seconds that one round trip takes."""
        start = time.perf_counter()
        await self._ask(("PING",))
        return time.perf_counter() - start

    async def close(self) -> None:
        await self._connection.close()
        if self._taking is not None:
            # Ends soon, because every call fails now.
            await self._taking

    def _grant_call(self, key_hash: str, grant: Grant) -> ScriptCall:
        now = datetime.now(UTC)
        end = valid_until(grant)
        life = timedelta(seconds=GRANT_TTL_S)
        if end is not None and now < end < now + life:
            life = end - now
        limits = REFUSED if refusal(grant, now) else limits_of(grant.terms)
        return (license_key(key_hash),), (
            grant.revision,
            encode_record(grant, limits),
            max(1, math.ceil(life / timedelta(milliseconds=1))),
        )

    async def _take_all(self) -> None:
        """Makes one script call after another until no request waits."""
        while self._requests:
            batch = self._requests[:MAX_REQUESTS_PER_CALL]
            del self._requests[:MAX_REQUESTS_PER_CALL]
            call = RequestCall(batch, f"{self._token_base}.{next(self._tokens)}")
            try:
                (reply,) = await self.run_script(
                    "take_requests", call.keys_and_arguments(self._limits), ask=self._ask_untraced
                )
                call.hand_out(reply)
            except Unavailable as error:
                _fail(batch, error)
            except Exception as defect:
                # We cannot make the call or cannot read the answer: no request may wait for ever.
                log.exception("a call of take_requests.lua failed")
                _fail(batch, unavailable(f"{type(defect).__name__}: {defect}"))
        self._taking = None

    async def run_script(self, name: str, *calls: ScriptCall, ask: Ask | None = None) -> list[Any]:
        """Returns the script's answer to each of `calls`, which go out in one write."""
        from redis.exceptions import NoScriptError

        script = _script(name)
        ask = ask or self._ask
        try:
            return await ask(*[("EVALSHA", script.sha, len(keys), *keys, *argv) for keys, argv in calls])
        except Unavailable as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        # The server does not have the script, because it is new or restarted. EVAL sends, keeps and runs it.
        commands: list[Command] = [
            ("EVALSHA" if later else "EVAL", script.sha if later else script.source, len(keys), *keys, *argv)
            for later, (keys, argv) in enumerate(calls)
        ]
        return await ask(*commands)

    async def _ask(self, *commands: Command) -> list[Any]:
        return await traced(self._ask_untraced(*commands), str(commands[0][0]), "redis")

    async def _ask_untraced(self, *commands: Command) -> list[Any]:
        """Sends commands that are not part of a single request's trace."""
        from redis.exceptions import RedisError

        try:
            return await self._connection.ask(*commands)
        except RedisError as error:
            raise unavailable(f"{type(error).__name__}: {error}") from error


def _fail(requests: Iterable[TakenRequest], error: Unavailable) -> None:
    for request in requests:
        if not request.answer.done():
            # One error per request, because raising an error adds to its traceback.
            request.answer.set_exception(unavailable(error.internal))
