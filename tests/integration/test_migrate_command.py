"""`python -m operations.migrate` on a real server, as an administrator who is no superuser, as in Azure."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.stack.embedded_postgres import EmbeddedPostgres
from operations.migrate import main
from shared import sql
from tests.support.ports import free_port

OBJECT_ID = "11111111-2222-4333-8444-555555555555"
LOGIN = "id-signal-cloud-prod"
JOBS = "id-signal-cloud-prod-jobs"
JOBS_ID = "22222222-2222-4333-8444-555555555555"
# What Azure's own function does, as far as this command can see: a login without rights.
ENTRA_FUNCTION = """
    create function pgaadauth_create_principal_with_oid(
        name text, object_id text, kind text, is_admin boolean, is_mfa boolean
    ) returns text language plpgsql security definer as $$
    begin
        if kind <> 'service' or is_admin or is_mfa or object_id is null then
            raise exception 'not as it should be called';
        end if;
        execute format('create role %I login', name);
        return 'Created role for ' || name;
    end $$
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server(server_directory: Path) -> Iterator[str]:
    """A superuser's URL of a server without our roles."""
    started = EmbeddedPostgres(server_directory / "migrate-command", free_port())
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture
def url(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An administrator's URL of an empty database; DATABASE_URL is set to it."""
    password = secrets.token_hex(8)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create role administrator login createrole password '{password}'")
        connection.execute("create database owned owner administrator")
    owned = make_conninfo(server, user="administrator", password=password, dbname="owned")
    monkeypatch.setenv("DATABASE_URL", owned)
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    yield owned
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop database owned with (force)")
        connection.execute("drop role if exists signal_functions, signal_jobs")
        connection.execute(f'drop role if exists "{LOGIN}", "{JOBS}", administrator')


@pytest.fixture
def entra(server: str) -> Iterator[None]:
    """The maintenance database offers Azure's function for logins."""
    maintenance = make_conninfo(server, dbname="postgres")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(ENTRA_FUNCTION)
    yield
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute("drop function pgaadauth_create_principal_with_oid")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_


def test_plan_changes_nothing_and_apply_does_it_once(url: str, run: Run) -> None:
    names = [name for name, _, _ in sql.migrations()]
    wanted = "".join(f"would apply {name}\n" for name in names)
    assert run("plan") == (0, wanted, "")
    assert run("plan") == (0, wanted, "")
    assert run("apply") == (0, "".join(f"applied {name}\n" for name in names), "")
    assert run("apply") == (0, "no migration was missing\n", "")
    assert run("plan") == (0, "no migration is missing\n", "")


@pytest.mark.usefixtures("entra")
def test_each_login_is_made_and_may_take_on_its_own_role_and_nothing_else(
    url: str, server: str, run: Run
) -> None:
    assert "login id-signal-cloud-prod: missing" in run("plan", "--login", LOGIN)[1]
    code, out, err = run("apply", "--login", LOGIN, "--login-object-id", OBJECT_ID)
    assert (code, err) == (0, "")
    assert f"made login {LOGIN}\n" in out
    assert out.endswith(f"login {LOGIN}: may log in, takes on signal_functions\n")
    code, out, err = run("apply", "--login", LOGIN, "--jobs-login", JOBS, "--jobs-login-object-id", JOBS_ID)
    assert (code, err) == (0, "")
    assert out.endswith(f"login {JOBS}: may log in, takes on signal_jobs\n")
    with psycopg.connect(server, autocommit=True) as connection:
        for login in (LOGIN, JOBS):
            connection.execute(f"""alter role "{login}" password 'for this test'""")
    with psycopg.connect(
        make_conninfo(server, user=LOGIN, password="for this test", dbname="owned"), autocommit=True
    ) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select count(*) from trades")
        connection.execute("set role signal_functions")
        assert connection.execute("select count(*) from trades").fetchone() == (0,)
        for role in ("signal_jobs", "administrator", JOBS):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f'set role "{role}"')
    with psycopg.connect(
        make_conninfo(server, user=JOBS, password="for this test", dbname="owned"), autocommit=True
    ) as connection:
        connection.execute("set role signal_jobs")
        assert connection.execute("select count(*) from feeds").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("set role signal_functions")


def test_a_login_that_had_both_roles_loses_the_one_that_is_not_its_own(
    url: str, server: str, run: Run
) -> None:
    assert run("apply")[0] == 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'create role "{LOGIN}" login')
        connection.execute(f'grant signal_functions, signal_jobs to "{LOGIN}" with inherit false, set true')
    assert "takes on signal_functions and signal_jobs" in run("plan", "--login", LOGIN)[1]
    assert run("apply", "--login", LOGIN)[1].endswith("takes on signal_functions\n")
    assert run("apply", "--jobs-login", LOGIN)[1].endswith("takes on signal_jobs\n")


def test_one_login_cannot_have_both_roles(url: str, run: Run) -> None:
    code, out, err = run("apply", "--login", LOGIN, "--jobs-login", LOGIN)
    assert (code, out) == (2, "")
    assert "must differ" in err


def test_a_missing_login_is_told(url: str, run: Run) -> None:
    code, _, err = run("apply", "--login", LOGIN)
    assert code == 1
    assert err == f"configuration_invalid: There is no login {LOGIN}; its object id makes it.\n"
    code, _, err = run("apply", "--login", LOGIN, "--login-object-id", OBJECT_ID)
    assert code == 1
    assert "cannot create it from Entra ID" in err


def test_a_login_above_row_level_security_is_refused(url: str, server: str, run: Run) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'create role "{LOGIN}" login bypassrls')
    code, _, err = run("apply", "--login", LOGIN)
    assert code == 1
    assert "above row-level security" in err


def test_who_may_not_migrate_is_told_everything_at_once(
    url: str, server: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"""create role "{LOGIN}" login password 'for this test'""")
    monkeypatch.setenv(
        "DATABASE_URL", make_conninfo(server, user=LOGIN, password="for this test", dbname="owned")
    )
    code, out, err = run("apply")
    assert (code, out) == (1, "")
    assert "may not create objects in the schema public of owned" in err
    assert "may not create the roles" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("value", "status", "told"),
    [
        ("", 2, "DATABASE_URL is not set"),
        ("nonsense", 2, "is not a PostgreSQL address"),
        ("postgresql://127.0.0.1/", 2, "names no user; DATABASE_URL names no dbname"),
        ("postgresql://u:p@127.0.0.1:6432/d", 2, "leads to PgBouncer (6432)"),
        ("postgresql://u:p@127.0.0.1:1/d", 1, "connection to server at"),
    ],
)
def test_a_bad_address_is_told_in_one_line(
    value: str, status: int, told: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    monkeypatch.setenv("DATABASE_URL", value)
    code, out, err = run("plan")
    assert (code, out) == (status, "")
    assert told in err
    assert ":p@" not in err


def test_a_password_beside_a_token_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1/d")
    monkeypatch.setenv("AZURE_CLIENT_ID", OBJECT_ID)
    code, _, err = run("plan")
    assert code == 2
    assert "DATABASE_URL has a password" in err


def test_no_token_is_told_in_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1/d")
    monkeypatch.setenv("PATH", str(tmp_path))  # no Azure CLI there
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    code, _, err = run("plan", "--entra")
    assert code == 1
    assert "Entra ID gives no token for Postgres" in err


def test_a_token_is_the_password(
    url: str, server: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real credential, with a stand-in for the Azure CLI that hands out the server's password."""
    given = psycopg.conninfo.conninfo_to_dict(url)
    cli = tmp_path / "az"
    cli.write_text(
        "#!/bin/sh\n"
        'case "$*" in *ossrdbms-aad*) ;; *) exit 1 ;; esac\n'
        f"""echo '{{"accessToken": "{given["password"]}", "expiresOn": "2099-01-01 00:00:00.000000"}}'\n"""
    )
    cli.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    address = f"postgresql://administrator@127.0.0.1:{given['port']}/owned"
    monkeypatch.setenv("DATABASE_URL", address)
    assert run("plan", "--entra")[0] == 0


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["undo"],
        *(
            ["apply", "--login", "x", "--login-object-id", object_id]
            for object_id in (
                "y",
                "",
                OBJECT_ID.replace("-", ""),
                f"{{{OBJECT_ID}}}",
                f"urn:uuid:{OBJECT_ID}",
            )
        ),
    ],
)
def test_wrong_arguments_are_refused(argv: list[str], run: Run) -> None:
    with pytest.raises(SystemExit) as left:
        run(*argv)
    assert left.value.code == 2
