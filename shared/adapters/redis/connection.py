"""Shares one connection to Redis among all callers of an event loop.

redis-py opens the connection (TLS, login), sends, and reads through hiredis. One caller at a time uses the
connection: its commands go out in one write, and it reads their answers in order. There are few exchanges,
because all requests in flight share one command, see RedisStore.take_request. The figures are in
docs/decisions/0006-one-redis-connection-a-process.md.

No caller waits long for an unavailable server. An exchange fails after `socket_timeout_s`. From then on
commands fail at once, while about once a second an attempt to reconnect runs in the background.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from shared.errors import CacheUnavailable, Unavailable

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection
    from redis.credentials import CredentialProvider
    from redis.exceptions import RedisError

RETRY_EVERY_S = 1.0
# After a deadline, the loop gets this long to read an answer that arrived while the process itself was
# busy, for example for the 0.2 s of the first import of onnxruntime or psycopg.
GRACE_S = 0.02
REFUSAL_LOG_EVERY_S = 60.0

# Codes of a server that cannot serve us: after a failover it is a replica, still loads its data, has no
# primary, holds other keys or requires a login. A new connection may reach its successor.
UNFIT_SERVER_CODES = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "NOAUTH"})

type Command = tuple[bytes | str | int | float, ...]

log = logging.getLogger(__name__)


class SharedConnection:
    """Sends the commands of one event loop over one connection."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        socket_timeout_s: float,
        credential_provider: "CredentialProvider | None",
    ) -> None:
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._socket_timeout_s = socket_timeout_s
        self._credential_provider = credential_provider
        self._connection: AbstractConnection | None = None
        self._turn = asyncio.Lock()
        self._is_closed = False
        self._unavailable_since: float | None = None
        self._retry_at = 0.0
        self._attempt: asyncio.Task[None] | None = None
        self.outage_count = 0
        self._next_refusal_log = 0.0

    @property
    def is_unavailable(self) -> bool:
        """Whether commands fail at once because the last attempt to reach the server failed."""
        return self._unavailable_since is not None

    async def ask(self, *commands: Command) -> list[Any]:
        """Returns the answer to each command: bytes, int, None or a list of these.

        Raises Unavailable. If the server refuses commands, raises the first one's RedisError after it has
        read every answer.
        """
        import hiredis

        self._raise_if_unavailable()
        # hiredis's stub declares a tuple of one element; any length is packed.
        packed = b"".join([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]
        async with self._turn:
            self._raise_if_unavailable()
            try:
                answers = await self._exchange(packed, len(commands))
            except BaseException as error:
                # The next command would read the answer that this one has not read.
                await self._hang_up()
                if not isinstance(error, Exception):
                    raise
                self._begin_outage(error)
                raise unavailable(_text(error)) from error
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def close(self) -> None:
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)
        # Ends an exchange that is under way. One that still connects ends at its own timeout.
        await self._hang_up()
        async with self._turn:
            await self._hang_up()

    def _raise_if_unavailable(self) -> None:
        if self._is_closed:
            raise unavailable("closed")
        if self._unavailable_since is not None:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._retry_at and (self._attempt is None or self._attempt.done()):
                self._attempt = loop.create_task(self._end_outage())
            raise unavailable("no attempt while the server is unavailable")

    async def _exchange(self, packed: bytes, count: int) -> list[Any]:
        """Sends commands and reads `count` answers, refusals among them; raises if no server can serve us."""
        connection = await self._open()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as deadline:
                expiry = loop.call_later(
                    self._socket_timeout_s, lambda: deadline.reschedule(loop.time() + GRACE_S)
                )
                try:
                    connection = await self._send(connection, packed)
                    return [await self._read(connection) for _ in range(count)]
                finally:
                    expiry.cancel()
        except TimeoutError:
            raise TimeoutError(f"no answer within {self._socket_timeout_s:g} s") from None

    async def _send(self, connection: "AbstractConnection", packed: bytes) -> "AbstractConnection":
        """Sends `packed` and returns the connection that will answer."""
        try:
            await connection.send_packed_command(packed, check_health=False)
        except Exception:  # noqa: BLE001 - asyncio's closed transport raises AttributeError
            # The server had reset the idle connection, which only a write shows. Nothing was sent.
            await self._hang_up()
            connection = await self._open()
            await connection.send_packed_command(packed, check_health=False)
        return connection

    async def _read(self, connection: "AbstractConnection") -> Any:
        """Reads one answer, or the server's refusal of one command; raises if the server cannot serve us."""
        from redis.exceptions import RedisError, ResponseError

        try:
            return await connection.read_response(disconnect_on_error=False)
        except RedisError as error:
            is_refusal = error.status_code is not None or isinstance(error, ResponseError)
            if not is_refusal or error.status_code in UNFIT_SERVER_CODES:
                raise
            self._note_refusal(error)
            return error

    async def _open(self) -> "AbstractConnection":
        """Returns the open connection, or a new one if there is none or it cannot be used any more.

        The server may have closed an idle connection, as managed services do, or have sent an answer without
        a command, which the next command would read as its own.
        """
        connection = self._connection
        if connection is None or await connection.can_read():
            await self._hang_up()
            connection = self._connection = await self._connect()
        return connection

    async def _connect(self) -> "AbstractConnection":
        """Opens a connection, logs in and gets an answer to PING, within the connect timeout."""
        from redis.asyncio.connection import Connection, parse_url

        options: dict[str, Any] = {
            # Exchanges and the connecting have deadlines of their own.
            "socket_timeout": None,
            "socket_connect_timeout": self._connect_timeout_s,
            "credential_provider": self._credential_provider,
            "protocol": 2,
            **parse_url(self._url),
        }
        connection: AbstractConnection = options.pop("connection_class", Connection)(**options)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("PING")
                await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _begin_outage(self, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        self._retry_at = loop.time() + RETRY_EVERY_S
        if self._unavailable_since is None and not self._is_closed:
            self._unavailable_since = loop.time()
            self.outage_count += 1
            log.warning("Redis is unavailable, requests continue without it: %s", _text(error))

    async def _end_outage(self) -> None:
        from redis.exceptions import RedisError

        loop = asyncio.get_running_loop()
        try:
            self._connection = await self._connect()
        except (RedisError, OSError) as error:
            self._begin_outage(error)
            return
        assert self._unavailable_since is not None
        log.info("Redis is available again after %.1f s", loop.time() - self._unavailable_since)
        self._unavailable_since = None

    def _note_refusal(self, error: "RedisError") -> None:
        """Logs a command that the server refused (out of memory, for example), at most once a minute."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_refusal_log and error.status_code != "NOSCRIPT":
            self._next_refusal_log = now + REFUSAL_LOG_EVERY_S
            log.error("Redis refused a command: %s", _text(error))


def _text(error: Exception) -> str:
    """The text of an error for the log, with the code that redis-py removes from the server's text."""
    code = getattr(error, "status_code", None)
    return f"{type(error).__name__}: {f'{code} ' if code else ''}{error}"


def unavailable(internal: str) -> Unavailable:
    """Returns the error that callers get during an outage; `internal` is for the log."""
    return CacheUnavailable("The cache cannot be reached.", internal=internal, retry_after_s=1)
