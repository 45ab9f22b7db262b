"""One connection to Redis, shared by everything that asks in one process.

All commands asked in one turn of the event loop go out in one write, and the answers resolve the
askers' futures in order. redis-py opens the connection (TLS, login); from then on hiredis reads it as its
bytes arrive, without the turns of the loop that streams and tasks in between would cost each answer.

Nobody waits long on a server that is away: a command fails `socket_timeout_s` after it was sent at the
latest, and from then on commands fail at once, while about once a second one attempt to reconnect runs in
the background until it succeeds.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.errors import CacheUnavailable, Unavailable

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

RETRY_EVERY_S = 1.0
# After a deadline the loop gets this long to hand over an answer that lay in the socket while the
# process itself was busy, as it is for 0.2 s when onnxruntime or psycopg are first imported.
GRACE_S = 0.02

_INCOMPLETE = object()
# Answers of a server that must not be asked any further: a replica, or one that is still loading.
_GIVE_WAY = frozenset({"READONLY", "LOADING", "MASTERDOWN"})

Command = tuple[bytes | str | int | float, ...]

log = logging.getLogger(__name__)


class SharedConnection:
    """Commands of one event loop over one connection; `before_write` may add to each write."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        socket_timeout_s: float,
        credential_provider: "CredentialProvider | None",
        before_write: Callable[[], None],
    ) -> None:
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._socket_timeout_s = socket_timeout_s
        self._credential_provider = credential_provider
        self._before_write = before_write
        self._writer: asyncio.StreamWriter | None = None
        self._answers: _Answers | None = None
        self._waiting: list[tuple[bytes, asyncio.Future[Any]]] = []
        self._in_flight: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._write_due: asyncio.Handle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._away_since: float | None = None
        self._retry_at = 0.0
        self._attempt: asyncio.Task[None] | None = None
        self.outage_count = 0
        self._next_refusal_log = 0.0

    @property
    def is_away(self) -> bool:
        """Whether commands fail at once because the last attempt to reach the server failed."""
        return self._away_since is not None

    def ask(self, command: Command) -> asyncio.Future[Any]:
        """The future answer to `command`: bytes, int, None or a list of these.

        It fails with redis.ResponseError where the server refuses, and with Unavailable.
        """
        import hiredis

        self.expect_write()
        # hiredis's stub declares a tuple of one element; any length is packed.
        return self.enqueue(hiredis.pack_command(command))  # type: ignore[arg-type]

    def enqueue(self, packed: bytes) -> asyncio.Future[Any]:
        """`ask` for `before_write`, whose write is already under way, with a command in Redis' protocol."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((packed, future))
        return future

    def expect_write(self) -> None:
        """Sees to it that a write follows this turn of the loop; raises Unavailable during an outage."""
        if self._away_since is not None:
            self._attempt_when_due()
            raise unavailable("no attempt while the server is away")
        if self._write_due is None:
            self._write_due = asyncio.get_running_loop().call_soon(self._write)

    async def close(self) -> None:
        if self._write_due is not None:
            # It would open the connection anew.
            self._write_due.cancel()
            self._write_due = None
        tasks = [task for task in (self._opening, self._attempt) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._drop(unavailable("closed"))

    def _write(self) -> None:
        """Sends what was asked in this turn of the loop."""
        self._write_due = None
        if self._writer is None:
            if self._opening is None and self._away_since is None:
                self._opening = asyncio.get_running_loop().create_task(self._open())
            return
        self._before_write()
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        asked, self._waiting = self._waiting, []
        sent_at = loop.time()
        self._in_flight.extend((sent_at, future) for _, future in asked)
        if self._watchdog is None:
            self._watchdog = loop.call_later(self._socket_timeout_s, self._watch)
        self._writer.write(b"".join([packed for packed, _ in asked]))

    async def _open(self) -> None:
        try:
            await self._connect()
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody may wait for ever
            self._fail(error)
        finally:
            self._opening = None
        self._write()

    def take(self, answer: Any) -> None:
        """Hands an answer, or the server's refusal, to who asked first."""
        refusal = self._refusal(answer) if isinstance(answer, Exception) else None
        if self._writer is None:
            return
        if not self._in_flight:
            # Whose answer would the next one be?
            self._hang_up()
            return
        future = self._in_flight.popleft()[1]
        if future.done():
            return
        if refusal is None:
            future.set_result(answer)
        else:
            future.set_exception(refusal)

    def _refusal(self, answer: Exception) -> Exception:
        from redis.exceptions import NoScriptError, ResponseError

        text = str(answer)
        code = text.partition(" ")[0]
        if code == "NOSCRIPT":
            return NoScriptError(text)
        refusal = ResponseError(text)
        if code in _GIVE_WAY:
            # After a failover this server is a replica; its successor is found by reconnecting.
            self._fail(refusal)
        else:
            self._note_refusal(refusal)
        return refusal

    def lost(self, answers: "_Answers", error: Exception) -> None:
        """The server hung up, or spoke nonsense."""
        if answers is not self._answers:
            return  # we hung up
        if self._in_flight:
            self._fail(error)
        else:
            # An idle connection was closed, as managed services do: the next command opens another.
            self._hang_up()

    def _watch(self) -> None:
        """Fails everything in flight once the oldest command has waited too long."""
        loop = asyncio.get_running_loop()
        if not self._in_flight:
            self._watchdog = None
            return
        waited_s = loop.time() - self._in_flight[0][0]
        if waited_s < self._socket_timeout_s:
            self._watchdog = loop.call_later(self._socket_timeout_s - waited_s, self._watch)
        else:
            self._watchdog = loop.call_later(GRACE_S, self._expire, self._in_flight[0][1])

    def _expire(self, suspect: asyncio.Future[Any]) -> None:
        if self._in_flight and self._in_flight[0][1] is suspect:
            self._watchdog = None
            error = TimeoutError(f"no answer within {self._socket_timeout_s:g} s")
            self._fail(error)
        else:
            self._watch()

    async def _connect(self) -> None:
        """Opens the connection, logs in and hears from the server, within the connect timeout."""
        from redis.asyncio.connection import Connection, parse_url

        options: dict[str, Any] = {
            "socket_timeout": self._connect_timeout_s,
            "socket_connect_timeout": self._connect_timeout_s,
            "credential_provider": self._credential_provider,
            "protocol": 2,
            **parse_url(self._url),
        }
        connection: Any = options.pop("connection_class", Connection)(**options)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await connection.connect()
                await connection.send_command("PING")
                await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        # redis-py has no public way to hand over an open connection: its streams are taken from it.
        self._writer, connection._writer, connection._reader = connection._writer, None, None
        self._answers = _Answers(self)
        self._writer.transport.set_protocol(self._answers)

    def _fail(self, error: Exception) -> None:
        self._begin_outage(error)
        self._drop(error)

    def _begin_outage(self, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        self._retry_at = loop.time() + RETRY_EVERY_S
        if self._away_since is None:
            self._away_since = loop.time()
            self.outage_count += 1
            log.warning("Redis is away, requests go on without it: %s: %s", type(error).__name__, error)

    def _note_refusal(self, error: Exception) -> None:
        """Logs a command that the server refused (out of memory, say), once a minute."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_refusal_log:
            self._next_refusal_log = now + 60
            log.error("Redis refused a command: %s: %s", type(error).__name__, error)

    def _drop(self, error: Exception) -> None:
        """Closes the connection and fails everybody who waits on it."""
        self._before_write()
        self._hang_up()
        waiting = [future for _, future in (*self._in_flight, *self._waiting)]
        self._in_flight.clear()
        self._waiting = []
        for future in waiting:
            if not future.done():
                future.set_exception(unavailable(f"{type(error).__name__}: {error}"))

    def _hang_up(self) -> None:
        writer, self._writer, self._answers = self._writer, None, None
        if writer is not None:
            writer.close()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _attempt_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._retry_at and (self._attempt is None or self._attempt.done()):
            self._attempt = loop.create_task(self._end_outage())

    async def _end_outage(self) -> None:
        from redis.exceptions import RedisError

        loop = asyncio.get_running_loop()
        try:
            await self._connect()
        except (RedisError, OSError) as error:
            self._begin_outage(error)
            return
        assert self._away_since is not None
        log.info("Redis is back after %.1f s", loop.time() - self._away_since)
        self._away_since = None


class _Answers(asyncio.Protocol):
    """Reads the answers of an open connection as their bytes arrive."""

    def __init__(self, owner: SharedConnection) -> None:
        import hiredis

        self._owner = owner
        self._reader: Any = hiredis.Reader(notEnoughData=_INCOMPLETE)

    def data_received(self, data: bytes) -> None:
        import hiredis

        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _INCOMPLETE:
                self._owner.take(answer)
        except hiredis.HiredisError as error:
            self._owner.lost(self, error)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.lost(self, error or ConnectionResetError("the server closed the connection"))


def unavailable(internal: str) -> Unavailable:
    """Says to callers what an outage comes to, and `internal` to the log."""
    return CacheUnavailable("The cache cannot be reached.", internal=internal, retry_after_s=1)
