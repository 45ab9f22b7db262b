"""A real PostgreSQL that archives its WAL, and another restored from it to a moment, as Azure does for us."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from local.stack.embedded_postgres import EmbeddedPostgres, postgres_binary
from tests.support.ports import free_port

TIMEOUT_S = 30.0


class ArchivingPostgres:
    """A server in `directory` whose every finished piece of WAL goes to an archive beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.archive = _servers_own(directory / "archive")
        self.backup = directory / "backup"
        self.server = EmbeddedPostgres(directory / "live", free_port())
        url = self.server.start()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter system set archive_mode = on")
            connection.execute(f"alter system set archive_command = 'cp %p {self.archive}/%f'".encode())
        self.server.stop()
        self.url = self.server.start()

    def back_up(self) -> None:
        """A base backup, as it is made each day."""
        given = conninfo_to_dict(self.url)
        subprocess.run(
            [
                postgres_binary("pg_basebackup"),
                "--pgdata",
                self.backup,
                "--checkpoint=fast",
                "--dbname",
                self.url,
            ],
            env={"PATH": os.defpath, "PGPASSWORD": str(given["password"])},
            capture_output=True,
            check=True,
        )

    def archive_all(self) -> None:
        """Returns once what was written until now lies in the archive."""
        deadline = time.monotonic() + TIMEOUT_S
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute("select pg_walfile_name(pg_switch_wal())").fetchone()
            assert row is not None
            while not (self.archive / row[0]).exists():
                assert time.monotonic() < deadline, f"{row[0]} was not archived"
                time.sleep(0.02)

    @contextmanager
    def restored_to(self, moment: datetime) -> Iterator[str]:
        """URL of another server that holds the database as it was at `moment`."""
        server = EmbeddedPostgres(self.directory / "restored", free_port())
        cluster = server.data_dir / "cluster"
        shutil.copytree(self.backup, cluster)
        shutil.copy(self.server.data_dir / "password", server.data_dir / "password")
        (cluster / "recovery.signal").touch()
        with (cluster / "postgresql.auto.conf").open("a", encoding="ascii") as settings:
            settings.write(
                "archive_mode = off\n"
                f"restore_command = 'cp {self.archive}/%f %p'\n"
                f"recovery_target_time = '{moment.isoformat()}'\n"
                "recovery_target_action = promote\n"
            )
        _servers_own(cluster)
        try:
            url = server.start()
            _await_promotion(url)
            yield url
        finally:
            server.stop()
            shutil.rmtree(server.data_dir)


def _await_promotion(url: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute("select pg_is_in_recovery()").fetchone() != (False,):
            assert time.monotonic() < deadline, "recovery does not end"
            time.sleep(0.02)


def _servers_own(directory: Path) -> Path:
    """`directory` for the user that the server runs as, which is another one where root runs the tests."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, "nobody")
    return directory


@contextmanager
def replicated(source_url: str, directory: Path) -> Iterator[EmbeddedPostgres]:
    """A running read replica of the server at `source_url`, which streams its changes."""
    server = EmbeddedPostgres(directory, free_port(), source_url)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def promote(url: str) -> None:
    """Returns when the read replica at `url` accepts writes."""
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("select pg_promote(true, 30)").fetchone() == (True,)


def await_replay(source_url: str, replica_url: str) -> None:
    """Returns when the replica has replayed everything that the source has written until now."""
    deadline = time.monotonic() + TIMEOUT_S
    with psycopg.connect(source_url, autocommit=True) as source:
        row = source.execute("select pg_current_wal_lsn()::text").fetchone()
    with psycopg.connect(replica_url, autocommit=True) as replica:
        while replica.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone() != (True,):
            assert time.monotonic() < deadline, "the replica does not follow"
            time.sleep(0.02)
