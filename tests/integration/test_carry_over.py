"""docs/operations.md, Restore to a point in time, step 4: the commands as they stand there, run."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.stack.embedded_postgres import EmbeddedPostgres, postgres_binary
from operations import observation
from operations.migrate import main as migrate_command
from operations.restore_drill import main as drill
from tests.integration.test_restore_drill import clock, use
from tests.support.places import ROOT
from tests.support.ports import free_port

PASSWORD = "one token for both servers"


def commands() -> str:
    """The block of the documentation that begins with `# carry over`."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n( *# carry over\n.*?)```", text, re.DOTALL)
    return str(block)


@pytest.fixture
def addresses(server_directory: Path) -> Iterator[tuple[str, str]]:
    """Two servers, as their administrator, who is no superuser; the database of each is that one's own."""
    servers = [EmbeddedPostgres(server_directory / f"carry-{name}", free_port()) for name in ("from", "to")]
    try:
        urls = []
        for server in servers:
            superuser = server.start()
            with psycopg.connect(superuser, autocommit=True) as connection:
                connection.execute(f"create role administrator login createrole password '{PASSWORD}'")
                connection.execute("create role app login")
                connection.execute("create database owned owner administrator")
            port = conninfo_to_dict(superuser)["port"]
            urls.append(f"postgresql://administrator@127.0.0.1:{port}/owned")
        yield urls[0], urls[1]
    finally:
        for server in servers:
            server.stop()


def test_a_database_is_carried_over_whole(
    addresses: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(observation, "SETTLED", observation.SETTLED * 0)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    source, target = addresses
    for url in addresses:
        monkeypatch.setenv("DATABASE_URL", url)
        assert migrate_command(["apply", "--login", "app"]) == 0
    asyncio.run(use(make_conninfo(source, password=PASSWORD), "monday"))
    asyncio.run(use(make_conninfo(target, password=PASSWORD), "lost", ("x",)))
    moment = clock(make_conninfo(source, password=PASSWORD)).isoformat()
    capsys.readouterr()
    monkeypatch.setenv("DATABASE_URL", source)
    assert drill(["observe", "--at", moment]) == 0
    (tmp_path / "expected.json").write_text(capsys.readouterr().out)
    monkeypatch.setenv("DATABASE_URL", target)
    assert drill(["check", str(tmp_path / "expected.json")]) == 1

    run = subprocess.run(
        ["bash", "-e", "-c", commands()],
        cwd=tmp_path,
        env={
            "PATH": f"{postgres_binary('psql').parent}:{os.defpath}",
            "PGPASSWORD": PASSWORD,
            "SOURCE": source,
            "TARGET": target,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    # Step 5: the app may take its role on again, and the system goes on from the restored state.
    assert migrate_command(["apply", "--login", "app"]) == 0
    assert capsys.readouterr().out.endswith("login app: may log in, takes on signal_functions\n")
    code = drill(["check", str(tmp_path / "expected.json"), "--login", "app"])
    assert code == 0, capsys.readouterr()
    asyncio.run(use(make_conninfo(target, password=PASSWORD), "tuesday"))
