"""Opens transactions from a pool of connections: sets their rights and time limits, translates errors."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from decimal import Decimal
from typing import Any, Self

import certifi
import msgspec
import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, AsyncCursor
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from shared.errors import DatabaseBusy, DatabaseUnavailable, Unavailable, ValidationFailed
from shared.sql import NAMES, queries
from shared.telemetry import traced

FUNCTIONS_ROLE = "signal_functions"
JOBS_ROLE = "signal_jobs"
# Connections of a process under the login of the timers, which run one at a time.
JOBS_POOL_SIZE = 2
# After this time the server ends a transaction and frees its locks, even if its owner hangs. It is longer
# than a bounded batch of sends takes.
TRANSACTION_TIMEOUT_MS = 30_000
RETRY_AFTER_S = 1.0
# The number of callers that may wait for each connection; all others are refused at once.
_WAITING_PER_CONNECTION = 64
_SQL = queries("session")

Connection = AsyncConnection[TupleRow]
# Returns the password of a new connection, because passwords change; raises OSError while there is none.
Password = Callable[[], Awaitable[str]]


@contextmanager
def translated() -> Iterator[None]:
    """Raises our errors for the driver's: DatabaseUnavailable, or ValidationFailed for data that the schema
    refuses. Other errors are defects and pass.
    """
    try:
        yield
    except (
        psycopg.errors.QueryCanceled,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.TransactionTimeout,
    ) as error:
        raise _unavailable("The database took too long. Try again.", error) from error
    except psycopg.errors.ReadOnlySqlTransaction as error:
        # A read replica, also during a failover, or a full disk.
        raise _unavailable("The database accepts no writes just now. Try again.", error) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise _unavailable("The database cannot be reached just now. Try again.", error) from error
    except (psycopg.errors.CheckViolation, psycopg.DataError) as error:
        refused = error.diag.constraint_name or error.diag.message_primary
        raise ValidationFailed(
            (),
            "A value is outside the range that can be stored.",
            internal=f"{type(error).__name__}: {refused}",
        ) from error


async def login_parameters(conninfo: str, password: Password | None) -> dict[str, Any]:
    """Returns the parameters of a new connection; raises psycopg.OperationalError if there is no password."""
    parameters: dict[str, Any] = conninfo_to_dict(conninfo)
    if parameters.get("sslrootcert") == "system":
        # The libpq in psycopg's wheel looks for the system's certificates in a folder that does not exist.
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


def _busy(error: Exception) -> DatabaseBusy:
    return DatabaseBusy(
        "Too many requests wait for the database. Try again.",
        internal=f"{type(error).__name__}: {error}",
        retry_after_s=RETRY_AFTER_S,
    )


class Database:
    """A pool that opens on first use; its only use is to open transactions.

    Every transaction has the role `role`, except those of jobs. Row-level security lets a transaction see the
    rows of its account, and no account's rows if it has none. While the server is unavailable, a transaction
    waits up to `connect_timeout_s` for it, so that a restart costs time but causes no error.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        role: str,
        pool_size: int,
        idle_size: int = 1,
        password: Password | None = None,
        statement_timeout_ms: int = 5_000,
        connect_timeout_s: float = 3.0,
        jobs: "Database | None" = None,
    ) -> None:
        """The pool has up to `pool_size` connections, and keeps `idle_size` of them if nobody uses them.

        `password` returns the password of each new connection, if `conninfo` holds none.

        `jobs` is the database under the login of the timers, which opens its own pool on first use: in a
        process that serves HTTP only, never. Without it, jobs use this login, which must have their role.
        """
        self._jobs = jobs
        self._conninfo = conninfo
        self._password = password
        self._role = role
        self.pool_size = pool_size
        # Transactions under way, and all that ever began, tell a busy pool from an unavailable server.
        self._under_way = 0
        self._begun = 0
        self._idle_size = idle_size
        self._statement_timeout_ms = statement_timeout_ms
        self._connect_timeout_s = connect_timeout_s
        self._opening = asyncio.Lock()
        self._pool: AsyncConnectionPool[Connection] | None = None

    async def open(self) -> None:
        """Opens the pool. It connects in the background, so that an unavailable server delays no caller."""
        await self._opened()

    async def close(self) -> None:
        """Closes every connection; the next use opens the pool again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
        if self._jobs is not None:
            await self._jobs.close()

    async def pending_migrations(self) -> list[str]:
        """The names of the migrations that this database lacks; raises Unavailable."""
        from shared.adapters.postgres.migrations import missing_migrations

        # In the app's role, because the login itself has no right to read anything.
        async with self.transaction() as connection:
            return await missing_migrations(connection)

    @asynccontextmanager
    async def transaction(
        self, *, account_id: str | None = None, jobs: bool = False
    ) -> AsyncIterator[Connection]:
        """Runs the block in a transaction, which is committed unless the block raises.

        Row-level security shows the rows of `account_id` only. `jobs` takes the role of the timers, which
        read across accounts. A broken connection is replaced before the block. Raises ValidationFailed, and
        Unavailable, which is DatabaseBusy if other callers have every connection of the pool.
        """
        if jobs and self._jobs is not None:
            async with self._jobs.transaction(account_id=account_id) as connection:
                yield connection
            return
        with translated():
            pool = await self._opened()
            connection = await self._entered(pool, account_id or "", JOBS_ROLE if jobs else self._role)
            self._begun += 1
            self._under_way += 1
            try:
                # The server ends the transaction first, unless the server itself hangs.
                with _severed_after(TRANSACTION_TIMEOUT_MS / 1000 + 1, connection):
                    yield connection
                    await traced(connection.commit(), "commit", "postgresql")
            finally:
                self._under_way -= 1
                await _left(pool, connection)

    async def is_replica(self) -> bool:
        """Whether the server is a read replica, which accepts no writes; raises Unavailable."""
        async with self.transaction() as connection:
            row = await (await connection.execute(_SQL["in_recovery"])).fetchone()
            return row == (True,)

    async def ping(self) -> None:
        """Makes one round trip through the pool; raises Unavailable."""
        async with self.transaction():
            pass

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        async with self._opening:
            if self._pool is None:
                pool = AsyncConnectionPool(
                    kwargs=self._parameters,
                    connection_class=AsyncConnection[TupleRow],
                    min_size=self._idle_size,
                    max_size=self.pool_size,
                    timeout=self._connect_timeout_s,
                    max_waiting=self.pool_size * _WAITING_PER_CONNECTION,
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
            "connect_timeout": max(2, round(self._connect_timeout_s)),  # libpq reads 1 as 2
            "tcp_user_timeout": self._statement_timeout_ms,  # ends the wait for a host that vanished
            "keepalives_idle": 30,
        }
        # With autocommit psycopg begins no transaction: `enter` begins it and sets its rights in one trip.
        given = await login_parameters(self._conninfo, self._password)
        return defaults | given | {"autocommit": True}

    async def _entered(self, pool: AsyncConnectionPool[Connection], account_id: str, role: str) -> Connection:
        """Returns a connection inside a new transaction whose rights are set."""
        settings = {
            "role": role,
            "account_id": account_id,
            "statement_timeout": str(self._statement_timeout_ms),
            "transaction_timeout": str(TRANSACTION_TIMEOUT_MS),
        }
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._connect_timeout_s
        while True:
            connection = await self._taken(pool, deadline - clock())
            try:
                with _severed_after(deadline - clock(), connection):
                    entering = AsyncClientCursor(connection).execute(_SQL["enter"], settings)
                    await traced(entering, "session.enter", "postgresql")
            except BaseException as error:
                await _left(pool, connection)
                # After a restart of the server, every connection in the pool may be dead: try the next one.
                dead = isinstance(error, psycopg.OperationalError) and connection.broken
                if not dead or clock() >= deadline:
                    raise
            else:
                return connection

    async def _taken(self, pool: AsyncConnectionPool[Connection], limit_s: float) -> Connection:
        """Takes a connection; raises DatabaseBusy if the pool has none, although the server answers."""
        begun = self._begun
        try:
            return await pool.getconn(limit_s)
        except TooManyRequests as error:
            raise _busy(error) from error
        except PoolTimeout as error:
            if self._under_way < self.pool_size and self._begun == begun:
                raise
            raise _busy(error) from error


async def _left(pool: AsyncConnectionPool[Connection], connection: Connection) -> None:
    """Rolls back and returns the connection to the pool, which discards it if it is broken."""
    try:
        if not connection.closed:
            with suppress(psycopg.Error):
                await connection.rollback()
    finally:
        await pool.putconn(connection)


@contextmanager
def _severed_after(limit_s: float, connection: Connection) -> Iterator[None]:
    """Cuts the connection after `limit_s`, so that the block gets an error instead of no answer.

    Cancelling the task would not help: psycopg then asks the server to cancel the query, and a server that
    hangs, or a network that loses packets, does not answer that either.
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
    """A cursor that records its statements, by their names, in the trace of a sampled request."""

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Self:
        executing = super().execute(query, *arguments, **options)
        return await traced(executing, NAMES.get(query, "unnamed"), "postgresql")


class _PlainNumeric(Loader):
    """Reads numeric values without the zeros at the end of their fractions, however they were stored."""

    def load(self, data: Buffer) -> Decimal:
        text = bytes(data).decode()
        return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


async def _configure(connection: Connection) -> None:
    connection.cursor_factory = _Cursor
    connection.adapters.register_loader("numeric", _PlainNumeric)
    set_json_dumps(msgspec.json.encode, connection)
    set_json_loads(msgspec.json.decode, connection)
