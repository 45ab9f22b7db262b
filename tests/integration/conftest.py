"""The real servers that integration tests run against; each starts once a session, on first use."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
import redis
from azure.data.tables import TableServiceClient
from psycopg.conninfo import make_conninfo

from local.stack.embedded_postgres import EmbeddedPostgres
from shared.adapters.postgres import Database, Upkeep
from shared.adapters.postgres.migrations import migrate
from tests.support.ports import free_port
from tests.support.samples import START
from tests.support.servers import running_azurite, running_valkey

# Each process has servers of its own, and their data grows with its tests.
ROOM_BYTES = 4 * 1024**3


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A directory for the servers' data that PostgreSQL's own user may enter, which pytest's are not."""
    directory = Path(tempfile.mkdtemp(prefix="signal-cloud-tests-", dir=_in_memory()))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


def _in_memory() -> Path | None:
    """A file system in memory with room for the servers' data; None if there is none.

    Nearly every test makes a database of its own, which is hundreds of files.
    """
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shutil.disk_usage(shared).free < ROOM_BYTES:
        return None
    return shared


@pytest.fixture(scope="session")
def valkey_url(server_directory: Path) -> Iterator[str]:
    with running_valkey(server_directory, free_port()) as url:
        yield url


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    """URL of the session's Valkey, empty."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url


@pytest.fixture(scope="session")
def azurite_connection_string(server_directory: Path) -> Iterator[str]:
    with running_azurite(server_directory, *(free_port() for _ in range(3))) as connection_string:
        yield connection_string


@pytest.fixture
def tables_connection_string(azurite_connection_string: str) -> str:
    """Connection string of the session's Azurite, without a table."""
    with TableServiceClient.from_connection_string(azurite_connection_string) as client:
        for table in list(client.list_tables()):
            client.delete_table(table.name)
    return azurite_connection_string


@pytest.fixture(scope="session")
def postgres_url(server_directory: Path) -> Iterator[str]:
    """The superuser's URL of the session's PostgreSQL, whose own database stays empty."""
    server = EmbeddedPostgres(server_directory / "postgres", free_port())
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    """The name of a migrated database to clone."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create database migrated")
    asyncio.run(migrate(make_conninfo(postgres_url, dbname="migrated")))
    return "migrated"


_database_numbers = count(1)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database of the test's own that was never migrated."""
    yield from _own_database(postgres_url, "template0")


@pytest.fixture
def database_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    yield from _own_database(postgres_url, migrated_template)


def _own_database(postgres_url: str, template: str) -> Iterator[str]:
    name = f"test_{next(_database_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    yield make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The pool that functions use, on a migrated database of the test's own.

    It has partitions for the sample trades, which are too old for a report to make them.
    """
    database = Database(database_url, role="signal_functions", pool_size=8)
    await Upkeep(database).ensure_partitions(START, 5)
    yield database
    await database.close()
