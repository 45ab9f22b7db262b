"""The pool of connections: what a transaction may see, how long it may take, and what a failure means."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self

import certifi
import msgspec
import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, AsyncCursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from shared.errors import DatabaseUnavailable, Unavailable, ValidationFailed
from shared.sql import NAMES, queries
from shared.telemetry import traced

JOBS_ROLE = "signal_jobs"
# Past this the server ends a transaction and frees its locks, whatever its owner does: longer than a
# bounded batch of sends takes, shorter than anybody would wait.
TRANSACTION_TIMEOUT_MS = 30_000
RETRY_AFTER_S = 1.0
# How many may queue for one connection before the rest are refused at once.
_WAITING_PER_CONNECTION = 64
_SQL = queries("session")

Connection = AsyncConnection[TupleRow]
# Asked for each new connection, where it changes; raises OSError while there is none.
Password = Callable[[], Awaitable[str]]


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors as ours: away, or data that the schema refuses. Anything else is a defect and passes."""
    try:
        yield
    except (
        psycopg.errors.QueryCanceled,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.TransactionTimeout,
    ) as error:
        raise _unavailable("The database took too long. Try again.", error) from error
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.errors.ReadOnlySqlTransaction,  # during a failover, and on a full disk
    ) as error:
        raise _unavailable("The database cannot be reached just now. Try again.", error) from error
    except (psycopg.errors.CheckViolation, psycopg.DataError) as error:
        refused = error.diag.constraint_name or error.diag.message_primary
        raise ValidationFailed(
            (), "A value lies outside of what can be stored.", internal=f"{type(error).__name__}: {refused}"
        ) from error


async def login_parameters(conninfo: str, password: Password | None) -> dict[str, Any]:
    """How to connect and log in now; raises psycopg.OperationalError while there is no password."""
    parameters: dict[str, Any] = conninfo_to_dict(conninfo)
    if parameters.get("sslrootcert") == "system":
        # The libpq of psycopg's wheel looks for the system's certificates where no system keeps them.
        trusted = ssl.get_default_verify_paths().cafile or certifi.where()
        parameters |= {"sslrootcert": trusted, "sslmode": "verify-full"}
    if password is not None:
        try:
            parameters["password"] = await password()
        except OSError as error:
            raise psycopg.OperationalError(str(error)) from error
    return parameters


def _unavailable(detail: str, error: Exception) -> Unavailable:
    return DatabaseUnavailable(
        detail,
        internal=f"{type(error).__name__}: {error}",
        retry_after_s=RETRY_AFTER_S,
    )


class Database:
    """A pool that opens on first use, and gives out transactions and nothing else.

    `role` is the role of every transaction unless it is a job's. Row-level security sees the account that
    a transaction was opened for, and none where none was named. While the server is away, a transaction
    waits up to `connect_timeout_s` for it to come back, so that a restart costs time and no error.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        role: str,
        pool_size: int,
        password: Password | None = None,
        statement_timeout_ms: int = 5_000,
        connect_timeout_s: float = 3.0,
    ) -> None:
        """`password` gives each new connection its password, where `conninfo` does not."""
        self._conninfo = conninfo
        self._password = password
        self._role = role
        self._pool_size = pool_size
        self._statement_timeout_ms = statement_timeout_ms
        self._connect_timeout_s = connect_timeout_s
        self._opening = asyncio.Lock()
        self._pool: AsyncConnectionPool[Connection] | None = None

    async def open(self) -> None:
        """Ready the pool; it connects in the background, so that a server that is away delays nobody."""
        await self._opened()

    async def close(self) -> None:
        """Close every connection; the next use opens anew."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def pending_migrations(self) -> list[str]:
        """The names of the migrations that this database lacks; raises Unavailable."""
        from shared.adapters.postgres.migrations import pending_migrations

        return await pending_migrations(self._conninfo, self._password)

    @asynccontextmanager
    async def transaction(
        self, *, account_id: str | None = None, jobs: bool = False
    ) -> AsyncIterator[Connection]:
        """One transaction, committed when the block ends well; raises Unavailable and ValidationFailed.

        `account_id` is whose rows row-level security lets through. `jobs` takes the role of the timers
        that read across accounts. A pooled connection that died unnoticed is replaced before the block.
        """
        with translated():
            pool = await self._opened()
            connection = await self._entered(pool, account_id or "", JOBS_ROLE if jobs else self._role)
            try:
                # The server ends the transaction first, unless it hangs itself.
                with _severed_after(TRANSACTION_TIMEOUT_MS / 1000 + 1, connection):
                    yield connection
                    await traced(connection.commit(), "commit", "postgresql")
            finally:
                await _left(pool, connection)

    async def ping(self) -> None:
        """One round trip through the pool; raises Unavailable."""
        async with self.transaction():
            pass

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        async with self._opening:
            if self._pool is None:
                pool = AsyncConnectionPool(
                    kwargs=self._parameters,
                    connection_class=AsyncConnection[TupleRow],
                    min_size=1,
                    max_size=self._pool_size,
                    timeout=self._connect_timeout_s,
                    max_waiting=self._pool_size * _WAITING_PER_CONNECTION,
                    reconnect_timeout=self._connect_timeout_s,
                    configure=_configure,
                    open=False,
                )
                await pool.open(wait=False)
                self._pool = pool
            return self._pool

    async def _parameters(self) -> dict[str, Any]:
        defaults = {
            "application_name": "signal-cloud",
            "connect_timeout": max(2, round(self._connect_timeout_s)),  # libpq takes 1 for 2
            "tcp_user_timeout": self._statement_timeout_ms,  # ends the wait for a host that vanished
            "keepalives_idle": 30,
        }
        # Statements are ours to begin and end: `enter` begins a transaction with its settings in one trip.
        given = await login_parameters(self._conninfo, self._password)
        return defaults | given | {"autocommit": True}

    async def _entered(self, pool: AsyncConnectionPool[Connection], account_id: str, role: str) -> Connection:
        """A connection inside a new transaction with its rights set."""
        settings = {
            "role": role,
            "account_id": account_id,
            "statement_timeout": str(self._statement_timeout_ms),
            "transaction_timeout": str(TRANSACTION_TIMEOUT_MS),
        }
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._connect_timeout_s
        while True:
            connection = await pool.getconn(deadline - clock())
            try:
                with _severed_after(deadline - clock(), connection):
                    entering = AsyncClientCursor(connection).execute(_SQL["enter"], settings)
                    await traced(entering, "session.enter", "postgresql")
            except BaseException as error:
                await _left(pool, connection)
                # A server that restarted leaves up to a pool's worth of dead connections to go through.
                dead = isinstance(error, psycopg.OperationalError) and connection.broken
                if not dead or clock() >= deadline:
                    raise
            else:
                return connection


async def _left(pool: AsyncConnectionPool[Connection], connection: Connection) -> None:
    """Give the connection back, outside of any transaction; one that cannot be is thrown away."""
    try:
        if not connection.closed:
            with suppress(psycopg.Error):
                await connection.rollback()
    finally:
        await pool.putconn(connection)


@contextmanager
def _severed_after(limit_s: float, connection: Connection) -> Iterator[None]:
    """Cut the connection after `limit_s`, so that whoever waits for an answer on it gets an error.

    A server that hangs (and a network that swallows packets) answers neither a query nor a request to
    cancel it, which is what a cancelled task would wait for.
    """
    timer = asyncio.get_running_loop().call_later(limit_s, _sever, connection)
    try:
        yield
    finally:
        timer.cancel()


def _sever(connection: Connection) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


class _Cursor(AsyncCursor[TupleRow]):
    """A cursor whose statements show in the trace of a sampled request, by their names."""

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Self:
        executing = super().execute(query, *arguments, **options)
        return await traced(executing, NAMES.get(query, "unnamed"), "postgresql")


async def _configure(connection: Connection) -> None:
    connection.cursor_factory = _Cursor
    set_json_dumps(msgspec.json.encode, connection)
    set_json_loads(msgspec.json.decode, connection)
