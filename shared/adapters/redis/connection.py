"""Shares one connection to Redis among all callers of an event loop.

redis-py opens the connection (TLS, login), sends, and reads through hiredis. Callers take turns: the commands
of one caller go out in one write, and their answers are read in order. The turns are few because all requests
in flight share one command, see RedisStore.take_request. The figures are in
docs/decisions/0006-one-redis-connection-a-process.md.

No caller waits long for a server that is unavailable. An exchange fails after `socket_timeout_s`. From then
on commands fail at once, while about once a second one attempt to reconnect runs in the background.
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
# After a deadline the loop gets this long to hand over an answer that lay in the socket while the
# process itself was busy, as it is for 0.2 s when onnxruntime or psycopg are first imported.
GRACE_S = 0.02
REFUSAL_LOG_EVERY_S = 60.0

# Codes of a server that must not be asked any further: after a failover it is a replica, still loads its
# data, has no primary, holds other keys or wants a login. A new connection may reach its successor.
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
        self._away_since: float | None = None
        self._retry_at = 0.0
        self._attempt: asyncio.Task[None] | None = None
        self.outage_count = 0
        self._next_refusal_log = 0.0

    @property
    def is_away(self) -> bool:
        """Whether commands fail at once because the last attempt to reach the server failed."""
        return self._away_since is not None

    async def ask(self, *commands: Command) -> list[Any]:
        """Returns the answer to each command: bytes, int, None or a list of these.

        Raises Unavailable, or the first command's RedisError that the server refuses, after all are answered.
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
                # An answer that was not read would be taken for the next command's.
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
        # Ends the exchange that is under way; if it still connects, it ends by itself.
        await self._hang_up()
        async with self._turn:
            await self._hang_up()

    def _raise_if_unavailable(self) -> None:
        if self._is_closed:
            raise unavailable("closed")
        if self._away_since is not None:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._retry_at and (self._attempt is None or self._attempt.done()):
                self._attempt = loop.create_task(self._end_outage())
            raise unavailable("no attempt while the server is unavailable")

    async def _exchange(self, packed: bytes, count: int) -> list[Any]:
        """Sends commands and reads `count` answers, refusals among them; raises if there is no fit server."""
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
            # The idle connection was reset, which only a write shows: nothing was sent.
            await self._hang_up()
            connection = await self._open()
            await connection.send_packed_command(packed, check_health=False)
        return connection

    async def _read(self, connection: "AbstractConnection") -> Any:
        """Reads one answer, or the server's refusal of one command; raises if there is no fit server."""
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
        """The open connection, or a new one if there is none or it cannot be used any more.

        The server may have closed an idle connection, as managed services do, or have sent an answer that no
        command asked for: the next command would take it for its own.
        """
        connection = self._connection
        if connection is None or await connection.can_read():
            await self._hang_up()
            connection = self._connection = await self._connect()
        return connection

    async def _connect(self) -> "AbstractConnection":
        """Opens a connection, logs in and hears from the server, within the connect timeout."""
        from redis.asyncio.connection import Connection, parse_url

        options: dict[str, Any] = {
            # An exchange has its own deadline, and so has connecting.
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
        if self._away_since is None and not self._is_closed:
            self._away_since = loop.time()
            self.outage_count += 1
            log.warning("Redis is unavailable, requests go on without it: %s", _text(error))

    async def _end_outage(self) -> None:
        from redis.exceptions import RedisError

        loop = asyncio.get_running_loop()
        try:
            self._connection = await self._connect()
        except (RedisError, OSError) as error:
            self._begin_outage(error)
            return
        assert self._away_since is not None
        log.info("Redis is available again after %.1f s", loop.time() - self._away_since)
        self._away_since = None

    def _note_refusal(self, error: "RedisError") -> None:
        """Logs a command that the server refused (out of memory, say), once a minute."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_refusal_log and error.status_code != "NOSCRIPT":
            self._next_refusal_log = now + REFUSAL_LOG_EVERY_S
            log.error("Redis refused a command: %s", _text(error))


def _text(error: Exception) -> str:
    """An error for the log, with the code that redis-py takes off the server's text."""
    code = getattr(error, "status_code", None)
    return f"{type(error).__name__}: {f'{code} ' if code else ''}{error}"


def unavailable(internal: str) -> Unavailable:
    """The outage as callers see it; `internal` is for the log."""
    return CacheUnavailable("The cache cannot be reached.", internal=internal, retry_after_s=1)
