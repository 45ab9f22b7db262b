"""Which DATABASE_URL a command accepts, and which problems it reports."""

import pytest

from operations.command import UsageError
from operations.database import connection_parameters, uses_entra
from shared.settings_reader import SettingsReader


def test_the_parts_of_the_address() -> None:
    reader = SettingsReader(
        {"DATABASE_URL": "postgresql://me:secret@db.example:5432/signals?sslmode=require"}
    )
    parameters = connection_parameters(reader, entra=False)
    assert {name: parameters[name] for name in ("host", "user", "dbname", "sslmode")} == {
        "host": "db.example",
        "user": "me",
        "dbname": "signals",
        "sslmode": "require",
    }
    assert parameters["connect_timeout"] == 10


@pytest.mark.parametrize(
    ("url", "entra", "problem"),
    [
        ("", False, "DATABASE_URL is not set"),
        ("postgres//x", False, "DATABASE_URL is not a PostgreSQL address"),
        (
            "postgresql://",
            False,
            "DATABASE_URL names no host; DATABASE_URL names no user; DATABASE_URL names no dbname",
        ),
        (
            "postgresql://me:secret@db.example:6432/signals",
            True,
            "DATABASE_URL leads to PgBouncer (6432): use the server's own port, 5432; "
            "DATABASE_URL has a password, but a token of Entra ID is to be the password",
        ),
    ],
)
def test_every_problem_is_reported_without_a_value(url: str, entra: bool, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        connection_parameters(SettingsReader({"DATABASE_URL": url}), entra=entra)
    assert caught.value.detail == problem


@pytest.mark.parametrize(
    ("environment", "asked", "expected"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"AZURE_CLIENT_ID": "x"}, False, True),
        ({"AZURE_CLIENT_ID": " "}, False, False),
    ],
)
def test_entra_is_used_if_it_is_asked_for_or_an_identity_is_named(
    environment: dict[str, str], asked: bool, expected: bool
) -> None:
    assert uses_entra(SettingsReader(environment), asked=asked) is expected
