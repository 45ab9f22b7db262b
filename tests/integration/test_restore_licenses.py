"""Licenses are restored from an export on a real Azurite: planned, applied, audited; and the drill of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import pytest

from operations.restore_drill import main as drill
from operations.restore_licenses import main
from shared.adapters.sealing import new_private_key, public_key_of, seal
from shared.adapters.tables import LicenseTables
from shared.domain.access.endings import Ending
from shared.domain.access.keys import hash_key, new_key
from shared.domain.access.license_changes import revoked
from shared.domain.access.licenses import revoked_key
from shared.services.license_export import packed_export
from tests.support.license_rows import numbered_key, numbered_license
from tests.support.ports import free_port
from tests.support.servers import running_azurite

NOW = datetime.now(UTC)
PRIVATE = new_private_key()
PEPPER = "p" * 32
COUNT = 4

Say = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def scratch(server_directory: Path) -> Iterator[str]:
    """Another account, which has no table."""
    (server_directory / "scratch").mkdir()
    with running_azurite(server_directory / "scratch", *(free_port() for _ in range(3))) as connection:
        yield connection


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Runs a command on an account: its status and what it said."""
    for name in ("AZURE_CLIENT_ID", "IDENTITY_ENDPOINT", "EXPORTS_ENDPOINT", "TABLES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "key").write_text(PRIVATE)

    def run(command: Callable[[list[str]], int], *argv: str, **environment: str) -> tuple[int, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = command([*argv, "--key-file", str(tmp_path / "key")])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def on(connection: str, work: Callable[[LicenseTables], Awaitable[object]]) -> object:
    async def run() -> object:
        tables = LicenseTables(connection)
        try:
            return await work(tables)
        finally:
            await tables.close()

    return asyncio.run(run())


async def fill(tables: LicenseTables) -> None:
    for number in range(COUNT):
        await tables.add_license(numbered_license(number))
        await tables.add_keys([numbered_key(number)])
    await tables.add_endings([Ending(NOW + timedelta(days=1), numbered_license(1).license_id)])


async def sealed(tables: LicenseTables) -> bytes:
    packed, _ = await packed_export(tables, NOW)
    return seal(packed, public_key_of(PRIVATE))


@pytest.fixture
def export(tables_connection_string: str, tmp_path: Path) -> str:
    """The file of an export of an account with some licenses."""
    on(tables_connection_string, fill)
    content = on(tables_connection_string, sealed)
    assert isinstance(content, bytes)
    (tmp_path / "one.sealed").write_bytes(content)
    return str(tmp_path / "one.sealed")


@contextmanager
def emptied(connection: str) -> Iterator[None]:
    from azure.data.tables import TableServiceClient

    with TableServiceClient.from_connection_string(connection) as client:
        for table in list(client.list_tables()):
            client.delete_table(table.name)
    yield


def test_everything_comes_back_in_another_account_and_is_audited(
    export: str, scratch: str, database_url: str, say: Say
) -> None:
    with emptied(scratch):
        target = {"TABLES_CONNECTION_STRING": scratch, "DATABASE_URL": database_url}
        code, told = say(main, "plan", export, **target)
        assert (code, "licenses 4 missing" in told, "keys     4 missing" in told) == (0, True, True)
        code, told = say(main, "apply", export, **target)
        assert (code, told.splitlines()[-1]) == (0, "stored  9 rows")
        code, told = say(main, "apply", export, **target)
        assert code == 0
        assert "0 missing, 0 older, 0 newer or other (left alone), 4 the same" in told
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select action, subject, detail from audit order by id").fetchall()
    assert [(action, subject) for action, subject, _ in rows] == [("licenses restored", "one.sealed")] * 2
    assert rows[0][2]["licenses"]["missing"] == 4


def test_newer_rows_stay_unless_told_and_older_ones_follow_the_export(
    export: str, tables_connection_string: str, say: Say
) -> None:
    account = {"TABLES_CONNECTION_STRING": tables_connection_string}
    license_id, public_id = numbered_license(0).license_id, numbered_key(1).public_id

    async def change(tables: LicenseTables) -> None:
        await tables.update_license(license_id, revoked)
        await tables.update_key(
            public_id, lambda key: msgspec.structs.replace(key, revision=1, key_hash="f" * 64)
        )

    async def state(tables: LicenseTables) -> tuple[str, str]:
        license_, key = await tables.get_license(license_id), await tables.get_key(public_id)
        assert license_ is not None
        assert key is not None
        return license_.status, key.key_hash[0]

    on(tables_connection_string, change)
    assert say(main, "apply", export, "--without-audit", "--only-missing", **account)[0] == 0
    assert on(tables_connection_string, state) == ("revoked", "f")
    code, told = say(main, "apply", export, "--without-audit", **account)
    assert (code, "1 newer or other (left alone)" in told) == (0, True)
    assert on(tables_connection_string, state) == ("revoked", "0")
    assert say(main, "apply", export, "--without-audit", "--even-newer", **account)[0] == 0
    assert on(tables_connection_string, state) == ("active", "0")


def test_a_restore_without_its_audit_entry_says_so(export: str, scratch: str, say: Say) -> None:
    gone = "postgresql://a@127.0.0.1:1/a?connect_timeout=1"
    with emptied(scratch):
        code, told = say(main, "apply", export, TABLES_CONNECTION_STRING=scratch, DATABASE_URL=gone)
    assert (code, "the audit log got no entry" in told) == (3, True)


def test_bad_use_is_told_plainly(
    export: str, scratch: str, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert say(main, "apply", export, TABLES_CONNECTION_STRING=scratch)[0] == 2
    code, told = say(main, "plan", "newest", TABLES_CONNECTION_STRING=scratch)
    assert (code, "EXPORTS_ENDPOINT" in told) == (2, True)
    code, told = say(main, "plan", export, TABLES_CONNECTION_STRING="")
    assert (code, "TABLES_ENDPOINT" in told) == (2, True)
    Path(export).write_bytes(Path(export).read_bytes()[:-1])
    code, told = say(main, "plan", export, TABLES_CONNECTION_STRING=scratch)
    assert (code, "changed or is not complete" in told) == (1, True)
    assert main(["plan", export, "--key-file", str(tmp_path / "none")]) == 2
    with pytest.raises(SystemExit, match="2"):  # one of them would be ignored
        say(main, "apply", export, "--without-audit", "--only-missing", "--even-newer")


def test_a_new_key_is_written_once_for_its_owner_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new"
    assert main(["new-key", str(path)]) == 0
    assert capsys.readouterr().out.strip() == public_key_of(path.read_text())
    assert path.stat().st_mode & 0o077 == 0
    before = path.read_text()
    assert main(["new-key", str(path)]) == 2
    assert path.read_text() == before


# The drill


@pytest.fixture
def drilled(
    export: str, tables_connection_string: str, scratch: str, say: Say
) -> Callable[..., tuple[int, dict[str, str]]]:
    """Runs the drill with empty scratch tables: its status, and each finding."""

    def run(**environment: str) -> tuple[int, dict[str, str]]:
        with emptied(scratch):
            code, told = say(
                drill, "licenses", export, TABLES_CONNECTION_STRING=tables_connection_string,
                SCRATCH_TABLES_CONNECTION_STRING=scratch, **environment,
            )  # fmt: skip
        return code, {line[8:28].strip(): line[:8].strip() + " " + line[28:] for line in told.splitlines()}

    return run


def test_the_drill_finds_what_is_live_in_the_export(
    drilled: Callable[..., tuple[int, dict[str, str]]], tables_connection_string: str
) -> None:
    async def change(tables: LicenseTables) -> None:
        await tables.update_key(numbered_key(2).public_id, revoked_key)
        await tables.add_license(msgspec.structs.replace(numbered_license(9), created_at=datetime.now(UTC)))

    on(tables_connection_string, change)
    code, found = drilled()
    assert code == 0, found
    assert [*found] == ["export", "restored", "live licenses", "live keys", "complete"]
    assert found["restored"] == "ok 4 licenses, 4 keys, 1 endings; checksum fits"
    assert found["live keys"].startswith("ok 3 the same, 1 changed since, 0 gone")


def test_the_drill_finds_what_is_lost_and_what_was_forgotten(
    drilled: Callable[..., tuple[int, dict[str, str]]], tables_connection_string: str
) -> None:
    async def damage(tables: LicenseTables) -> None:
        row = numbered_key(0)
        await tables._table("apikeys").delete_entity(row.public_id[:2], row.public_id)
        await tables.add_license(numbered_license(9))

    on(tables_connection_string, damage)
    code, found = drilled()
    assert code == 1
    assert found["live keys"].startswith("FAILED 3 the same, 0 changed since, 1 gone")
    assert found["complete"].startswith("FAILED 1 older rows are not in it")


def test_keys_alone_in_the_scratch_tables_are_refused_too(
    export: str, tables_connection_string: str, scratch: str, say: Say
) -> None:
    with emptied(scratch):
        on(scratch, lambda tables: tables.add_keys([numbered_key(0)]))
        code, told = say(
            drill, "licenses", export, TABLES_CONNECTION_STRING=tables_connection_string,
            SCRATCH_TABLES_CONNECTION_STRING=scratch,
        )  # fmt: skip
    assert (code, "the scratch tables hold licenses or keys" in told) == (2, True), told


def test_a_key_authenticates_from_the_restored_tables(
    tables_connection_string: str, scratch: str, say: Say, tmp_path: Path
) -> None:
    plain = new_key(numbered_key(0).public_id)

    async def fill_with_key(tables: LicenseTables) -> bytes:
        await tables.add_license(numbered_license(0))
        key_hash = hash_key(plain, PEPPER.encode())
        await tables.add_keys([msgspec.structs.replace(numbered_key(0), key_hash=key_hash)])
        return await sealed(tables)

    content = on(tables_connection_string, fill_with_key)
    assert isinstance(content, bytes)
    (tmp_path / "one.sealed").write_bytes(content)
    run = partial(
        say, drill, "licenses", str(tmp_path / "one.sealed"), SCRATCH_TABLES_CONNECTION_STRING=scratch,
        TABLES_CONNECTION_STRING=tables_connection_string,
    )  # fmt: skip
    for environment, code, said in (
        ({"API_KEY_PEPPER": PEPPER}, 0, "authenticates"),
        ({"API_KEY_PEPPER": "q" * 32}, 1, "has another hash"),
        ({"API_KEY_PEPPER": ""}, 0, "has the hash of the live one"),
    ):
        with emptied(scratch):
            found, told = run(SIGNAL_CLOUD_KEY=plain, **environment)
        assert (found, said in told) == (code, True), told
    found, told = run(SIGNAL_CLOUD_KEY=new_key("Zz0000"))
    assert (found, "the scratch tables hold licenses" in told) == (2, True)
    with emptied(scratch):
        found, told = run(SIGNAL_CLOUD_KEY=new_key("Zz0000"))
    assert (found, "Zz0000 is not in the export" in told) == (1, True)
