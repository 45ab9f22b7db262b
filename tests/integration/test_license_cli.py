"""`python -m operations.license` against real servers, from what a running stack leaves in its directory."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import redis

from operations.account import main as account_command
from operations.license import INCOMPLETE, NAMES, main
from shared.adapters.redis.names import license_key
from shared.domain.access.keys import hash_key, parse_key
from tests.support.ports import free_port

PEPPER = "p" * 48
KEY = re.compile(r"^sc_live_[0-9A-Za-z]{44}$", re.MULTILINE)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stack(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    tables_connection_string: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The files of a running stack whose Web PubSub is away."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STATE", str(tmp_path))
    hub_url = f"http://127.0.0.1:{free_port()}"
    content = {
        "hub": "signals",
        "database_url": database_url,
        "redis_url": redis_url,
        "tables_connection_string": tables_connection_string,
        "webpubsub_connection_string": f"Endpoint={hub_url};AccessKey={'k' * 44};Version=1.0;",
    }
    (tmp_path / "stack.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "secrets.json").write_text(json.dumps({"api_key_pepper": PEPPER}), encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(stack: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_


def created(run: Run, *options: str) -> dict[str, Any]:
    code, out, err = run("create", "--account", "acct-1", "--json", *options)
    assert (code, err) == (0, "")
    return dict(json.loads(out))


def test_create_shows_the_license_and_its_key_once(run: Run) -> None:
    code, out, _ = run("create", "--account", "acct-1", "--symbols", "ES,CL", "--requests-per-minute", "250")
    assert code == 0
    (key,) = KEY.findall(out)
    assert "250 requests a minute" in out
    assert "ES, CL" in out
    license_id = out.split()[0]
    code, out, _ = run("show", license_id)
    assert code == 0
    assert key not in out
    assert f"sc_live_{parse_key(key).public_id}...  active, bot" in out


def test_json_can_be_read_by_programs(run: Run) -> None:
    made = created(run, "--scopes", "publisher,feeder", "--plan", "load", "--expires", "90d")
    assert made["license"]["plan"] == "load"
    assert made["license"]["expires_at"].endswith("Z")
    assert made["key"]["scopes"] == ["publisher", "feeder"]
    assert made["key"]["key_hash"] == hash_key(made["plain_key"], PEPPER.encode())
    code, out, _ = run("list", "--json")
    assert code == 0
    assert [each["license_id"] for each in json.loads(out)] == [made["license"]["license_id"]]


def test_a_key_is_added_rotated_and_revoked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    license_id = created(run)["license"]["license_id"]
    code, out, _ = run("add-key", license_id, "--scopes", "ops", "--json")
    assert code == 0
    added = json.loads(out)
    monkeypatch.setattr("sys.stdin", io.StringIO(added["plain_key"] + "\n"))
    code, out, err = run("rotate", "-", "--overlap", "30m", "--json")
    assert (code, err) == (0, "")
    rotated = json.loads(out)
    assert rotated["replaces"] == added["key"]["public_id"]
    assert rotated["key"]["scopes"] == ["ops"]
    code, out, err = run("revoke", f"sc_live_{added['key']['public_id']}")
    assert code == INCOMPLETE
    assert "is revoked" in out
    assert err.startswith("The change is stored and stands, but it is not complete.\n")
    assert "Connections were not closed: " in err
    assert "The timer closes them within 10 seconds" in err
    assert "Redis" not in err
    code, _, err = run("rotate", rotated["key"]["public_id"], "--overlap", "0s")
    assert code == INCOMPLETE
    assert "Connections were not closed: " in err
    code, out, _ = run("show", license_id, "--json")
    status = {key["public_id"]: key["status"] for key in json.loads(out)["keys"]}
    assert status[added["key"]["public_id"]] == "revoked"
    assert status[rotated["key"]["public_id"]] == "active"


def test_suspend_resume_and_revoke_reach_redis_at_once(run: Run, redis_url: str) -> None:
    made = created(run)
    license_id = made["license"]["license_id"]
    with redis.Redis.from_url(redis_url) as client:
        for command, status, limit, expected in (
            ("suspend", "suspended", b"0", INCOMPLETE),
            ("resume", "active", b"100", 0),
            ("revoke", "revoked", b"0", INCOMPLETE),
        ):
            code, out, _ = run(command, license_id)
            assert code == expected
            assert f"{license_id}  {status}" in out
            record = client.get(license_key(made["key"]["key_hash"]))
            assert isinstance(record, bytes)
            assert record.split(b" ")[1] == limit
    code, _, err = run("resume", license_id)
    assert code == 1
    assert err.startswith("conflict: ")


def test_what_redis_could_not_be_told_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    license_id = created(run)["license"]["license_id"]
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    code, out, err = run("suspend", license_id)
    assert code == INCOMPLETE
    assert f"{license_id}  suspended" in out
    assert "Redis was not told: processes learn the end from Table Storage within 5 seconds." in err
    code, out, err = run("resume", license_id)
    assert code == INCOMPLETE
    assert f"{license_id}  active" in out
    assert "processes may refuse the license for 60 seconds" in err


def test_an_entry_that_could_not_be_audited_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    license_id = created(run)["license"]["license_id"]
    monkeypatch.setenv("DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/none")
    code, _, err = run("suspend", license_id)
    assert code == INCOMPLETE
    assert "The audit log did not get an entry" in err


def test_errors_are_told_plainly(run: Run, stack: Path) -> None:
    code, _, err = run("show", "lic_abcdefghijkl")
    assert (code, err) == (1, "not_found: There is no license lic_abcdefghijkl.\n")
    code, _, err = run("create", "--account", "no spaces", "--requests-per-minute", "0")
    assert code == 1
    assert "account_id: " in err
    assert "requests_per_minute: " in err
    (stack / "stack.json").unlink()
    code, _, err = run("list")
    assert code == 1
    assert f"no stack runs on {stack}" in err


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["create"],
        ["create", "--account", "a", "--symbols", "es"],
        ["create", "--account", "a", "--scopes", "root"],
        ["create", "--account", "a", "--expires", "2027-01-31"],
        ["create", "--account", "a", "--expires", "soon"],
        ["rotate", "Ab12Cd", "--overlap", "-1h"],
        ["rotate", "Ab12Cd", "--overlap", "1w"],
        ["extend", "lic_abcdefghijkl", "30"],
        ["bulk", "revoke", "--plan", "starter", "--dry-run", "--yes"],
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(run: Run, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(*argv)
    assert left.value.code == 2


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_a_whole_key_is_refused_as_an_argument_and_not_repeated(
    run: Run, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = created(run)["plain_key"]
    for whole in (plain, plain.removeprefix("sc_live_")):
        with pytest.raises(SystemExit) as left:
            run(command, whole)
        assert left.value.code == 2
        told = capsys.readouterr().err
        assert "other users can read arguments" in told
        assert plain[-30:] not in told


def test_a_second_license_of_an_account_is_asked_for(run: Run) -> None:
    created(run)
    code, out, err = run("create", "--account", "acct-1")
    assert (code, out) == (1, "")
    assert err.startswith("conflict: The account acct-1 exists.")
    assert "--same-account" in err
    created(run, "--same-account")
    code, out, _ = run("list", "--json")
    assert [each["account_id"] for each in json.loads(out)] == ["acct-1", "acct-1"]
    code, _, _ = run("create", "--account", "acct-2")
    assert code == 0


def test_a_symbol_that_nothing_serves_is_refused(run: Run, database_url: str) -> None:
    code, out, err = run("create", "--account", "acct-1", "--symbols", "ES,GC")
    assert (code, out) == (1, "")
    assert "symbols: Nothing serves GC: it has neither bars nor signals. Served are CL, ES, NQ" in err
    code, _, err = run("create", "--account", "acct-1", "--symbols", "MES")
    assert code == 1
    assert "send ES. Served are CL, ES" in err
    code, out, _ = run("list", "--json")
    assert json.loads(out) == []
    assert created(run, "--symbols", "GC", "--new-symbols")["license"]["terms"]["symbols"] == ["GC"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("insert into signal_counters (symbol, last_sequence) values ('GC', 1)")
    assert created(run, "--same-account", "--symbols", "GC")["license"]["terms"]["symbols"] == ["GC"]
    code, _, err = run("create", "--account", "acct-2", "--symbols", "SI")
    assert code == 1
    assert "Served are CL, ES, GC, NQ" in err


def test_a_contract_in_place_of_a_symbol_is_told_its_root(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run("create", "--account", "a", "--symbols", "NQ,/ES")
    assert left.value.code == 2
    assert "send ES." in capsys.readouterr().err


def test_an_unreachable_key_store_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}/a"
    connection = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint={address};"
    monkeypatch.setenv("TABLES_CONNECTION_STRING", connection)
    code, _, err = run("show", "lic_abcdefghijkl")
    assert code == 1
    assert err.startswith("key_store_unavailable: ")


def test_the_whole_answer_is_json(run: Run) -> None:
    license_id = created(run)["license"]["license_id"]
    for argv in (("list",), ("show", license_id), ("suspend", license_id), ("revoke", license_id)):
        code, out, _ = run(*argv, "--json")
        assert code in (0, INCOMPLETE)
        assert msgspec.json.decode(out)


def test_a_license_is_made_once_extended_moved_and_noted(run: Run) -> None:
    options = ("--reference", "order 7", "--email", "a@b.example", "--notes", "pays late", "--expires", "30d")
    made = created(run, *options)
    license_id = made["license"]["license_id"]
    again = json.loads(run("create", "--account", "acct-1", "--json", *options)[1])
    assert (again["license"]["license_id"], again["plain_key"]) == (license_id, None)
    code, out, _ = run("extend", license_id, "2030-01-31T00:00:00Z")
    assert (code, "expires  2030-01-31T00:00:00Z" in out) == (0, True)
    code, out, _ = run("override", license_id, "requests_per_minute=250", "sessions=2")
    # Fewer places close connections, and no hub runs here.
    assert code == INCOMPLETE
    assert "250 requests a minute a key (override)" in out
    assert "sessions  2 (override)" in out
    assert "override" not in run("override", license_id, "requests_per_minute=", "sessions=")[1]
    code, out, _ = run("note", license_id, "--notes", "", "--discord", "123456789012345678")
    assert (code, "notes" in out, "a@b.example" in out, "123456789012345678" in out) == (0, False, True, True)
    code, out, _ = run("plan", license_id, "pro")
    assert "plan     pro, 600 requests" in out
    code, _, err = run("override", license_id, "sessions=0")
    assert (code, "sessions: Expected from 1" in err) == (1, True)


def test_a_buyer_s_license_is_made_without_a_key_and_ends_are_listed(run: Run) -> None:
    buyer = ("create", "--account", "acct-1", "--email", "a@b.example", "--expires", "2030-01-31T00:00:00Z")
    code, out, _ = run(*buyer, "--no-key")
    assert (code, KEY.findall(out)) == (0, [])
    assert "a@b.example gets a link to it by mail" in out
    license_id = out.split()[0]
    assert "no keys" in run("show", license_id)[1]
    assert "gets a link to one more key by mail" in run(*buyer, "--same-account")[1]
    listed = run("list")[1]
    assert f"{license_id}  acct-1" in listed
    assert "until 2030-01-31T00:00:00Z" in listed
    assert run("list", "--account", "acct-2")[1] == "no license fits\n"
    key = run("add-key", license_id)[1].split()[0]
    rotated = run("rotate", key[len("sc_live_") :][:6], "--overlap", "24h")[1]
    assert "works for 1 day more" in rotated


def test_licenses_are_listed_by_filter_and_changed_in_bulk(run: Run) -> None:
    made = [
        created(run, "--plan", plan, "--same-account", "--notes", notes)["license"]["license_id"]
        for plan, notes in (("starter", "=1+1"), ("pro", ""), ("starter", ""))
    ]
    out = run("list", "--plan", "starter", "--order=-created", "--json")[1]
    assert {each["license_id"] for each in json.loads(out)} == {made[0], made[2]}
    out = run("list", "--text", "1+", "--csv")[1]
    assert out.splitlines()[0].startswith("license_id,plan,account_id,status,")
    assert ",'=1+1," in out.splitlines()[1]
    bulk = ("bulk", "plan", "--plan", "starter", "--to-plan", "pro")
    code, out, _ = run(*bulk)
    assert (code, "2 would be changed, 0 unchanged, 0 refused" in out) == (0, True)
    assert "plan starter -> pro" in out
    assert len(json.loads(run("list", "--plan", "starter", "--json")[1])) == 2
    code, out, _ = run(*bulk, "--yes", "--json")
    assert json.loads(out)["changed"] == 2
    assert json.loads(run("list", "--plan", "starter", "--json")[1]) == []
    code, _, err = run("bulk", "revoke", "--yes")
    assert (code, "filter: Name at least one value" in err) == (1, True)


def test_an_account_is_exported_and_erased_by_a_command(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    created(run, "--email", "a@b.example")
    target = tmp_path / "account.zip"
    assert account_command(["export", "acct-1", "--file", str(target)]) == 0
    assert target.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(target) as made:
        assert json.loads(made.read("licenses.json"))[0]["email"] == "a@b.example"
    assert account_command(["erase", "acct-1"]) == 0
    assert "Nothing is erased yet" in capsys.readouterr().out
    # Web PubSub is away, so the closing of connections is left to do.
    assert account_command(["erase", "acct-1", "--yes", "--json"]) == INCOMPLETE
    report = json.loads(capsys.readouterr().out)
    rows = json.loads(run("list", "--json")[1])
    assert [(row["account_id"], row["status"], row["email"]) for row in rows] == [
        (report["pseudonym"], "revoked", None)
    ]
    assert account_command(["export", "acct-none", "--file", str(target)]) == 1
    assert capsys.readouterr().err == "not_found: There is no account acct-none.\n"
    for file in (tmp_path / "none" / "a.zip", tmp_path):
        assert account_command(["export", "acct-1", "--file", str(file)]) == 2
        assert f"{file} cannot be written: " in capsys.readouterr().err
