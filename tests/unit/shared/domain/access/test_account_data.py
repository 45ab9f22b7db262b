"""Every table with rows of accounts is named in one list, which says what an erasure does with it."""

import re

from shared.domain.access.account_data import ACCOUNT_TABLES, erased, new_pseudonym
from shared.domain.access.license_checks import ACCOUNT_PATTERN
from shared.sql import queries, schema
from tests.support.licenses import NOW, a_license
from tests.support.places import ROOT

# Columns that name an account, its licenses and keys, or the person behind it.
NAMING = re.compile(
    r"^    (account_id|publisher|license_id|((key|previous)_)?public_id|email|discord_user_id) "
)
SECURITY = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def naming_columns() -> dict[str, set[str]]:
    """The columns of each table of the schema that name an account or a person."""
    found: dict[str, set[str]] = {}
    for created in re.finditer(
        r"^create table (\w+) \(\n(.*?)^\)", schema().decode(), re.DOTALL | re.MULTILINE
    ):
        columns = {match[1] for line in created[2].splitlines() if (match := NAMING.match(line))}
        if columns:
            found[created[1]] = columns
    return found


def test_every_table_that_names_an_account_is_in_the_list() -> None:
    """If this fails for your new table: add its row to ACCOUNT_TABLES, and its queries to accounts.sql."""
    listed = {table.name: set(table.columns) for table in ACCOUNT_TABLES if table.columns}
    assert listed == naming_columns()


def test_each_table_can_be_exported_and_erased_and_says_why_rows_stay() -> None:
    written = queries("accounts")
    for table in ACCOUNT_TABLES:
        assert f"export_{table.name}" in written
        assert (f"erase_{table.name}" in written) == (table.erased != "kept")
        assert bool(table.why) == (table.erased != "deleted")
        assert f"`{table.name}`" in SECURITY, "docs/security.md lists what an erasure does with each table"


def test_the_rows_of_a_test_account_are_removed_or_there_are_none_for_long() -> None:
    """If this fails for your new table: remove its rows in test_licenses.sql, or say here why not."""
    removed = set(re.findall(rb"delete from (\w+)", b"".join(queries("test_licenses").values())))
    # A test license has no destinations, hooks, payments and signals of its own; the rest is deleted by age.
    left = {
        *("destinations", "hooks", "payment_events", "signals"),
        *("notifications", "notification_events", "claims_used", "connections", "erasures", "audit"),
    }
    assert {each.decode() for each in removed} == {table.name for table in ACCOUNT_TABLES} - left


def test_an_erased_license_names_nobody_and_stays_as_it_is() -> None:
    license_ = a_license(
        notes="pays late",
        email="a@b.example",
        discord_user_id="1" * 17,
        reference="order 7",
        payment="stripe:sub_1",
    )
    pseudonym = new_pseudonym(lambda count: bytes(range(count)))
    assert re.fullmatch(ACCOUNT_PATTERN, pseudonym)
    after = erased(license_, pseudonym)
    assert (after.account_id, after.status, after.license_id) == (pseudonym, "revoked", license_.license_id)
    assert after.revision > license_.revision
    assert after.created_at == NOW
    for name in ("notes", "email", "discord_user_id", "reference", "payment"):
        assert not getattr(after, name)
    assert erased(after, pseudonym) is after
