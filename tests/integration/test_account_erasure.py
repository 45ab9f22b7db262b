"""Everything of one account is exported, and erased for good, also after a crash half-way."""

import json
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import psycopg
import pytest

from shared.adapters.account_archive import AccountArchive
from shared.adapters.postgres import AccountStore, Audit, Database, TradeStore
from shared.adapters.postgres.license_list import LicenseList
from shared.domain.access.account_data import ACCOUNT_TABLES, SETTLES_AFTER
from shared.errors import ExportTooLarge, NotFound
from shared.services.account_data import AccountDataService
from shared.services.license_listing import LicenseListingService
from tests.support.license_plans import PLANS
from tests.support.license_world import World
from tests.support.samples import a_trade

MINE, OTHER = "acct-1", "acct-2"
# What is erased of every other account, so that a test sees what stays. `signals` is the publisher's.
ROWS = """
insert into trade_day_figures
values ('{0}', '2025-09-02', 'ES', 3, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, array_fill(0, array[10]));
insert into suspicious_trades values ('{0}', 't-1', 'entry_time', 'ES', 1, now(), 1, now());
insert into signals (
    symbol, sequence, strategy, strategy_version, kind, side, price, event_at, features, source, publisher
) values ('ES', {1}, 's', 1, 'entry', 'LONG', 1, now(), '{{}}', 'live', '{0}');
insert into payment_events (provider, event_id, type, kind, created_at, account_id, payload, state)
values ('stripe', 'evt_{1}', 't', 'paid', now(), '{0}',
    '{{"email": "a@b.example", "customer": "{0}", "amount": 1}}', 'applied');
insert into notification_events (event_id, kind, at, account_id, shown)
values ('e-{1}', 'test', now(), '{0}', '{{}}');
insert into notifications (event_id, lane, account_id, next_try_at) values ('e-{1}', 'mail:x', '{0}', now());
insert into destinations
values ('d-{1}', '{0}', 'lic_x', 'webhook', '{{test}}', 'https://x', 'sealed', 'key', now());
"""


class Erasing:
    """Two accounts with rows in every table, and the service over real Postgres."""

    def __init__(self, database: Database, url: str) -> None:
        self.database, self.url = database, url
        self.world = World()
        self.listing = LicenseListingService(self.world.store, LicenseList(database), PLANS, self.world.clock)
        self.service = AccountDataService(
            store=AccountStore(database),
            licenses=self.world.store,
            audit=Audit(database),
            now=self.world.clock,
        )

    async def fill(self) -> None:
        for number, account in enumerate((MINE, OTHER), 1):
            made = await self.world.service.create_license(
                account, email="a@b.example", notes="pays late", reference=f"order {number}"
            )
            await self.world.service.create_key(made.license_id)
            await self.listing.note(made)
            await Audit(self.database).write("x", "license created", made.license_id, {"account": account})
            trades = [a_trade(f"{account}-{each}") for each in range(3)]
            await TradeStore(self.database).record(account, "key", trades)
            async with await psycopg.AsyncConnection.connect(self.url) as admin:
                await admin.execute(ROWS.format(account, number).encode())

    async def mentions(self, account: str) -> dict[str, int]:
        """How many rows of each table contain the account's id anywhere, but for the erasure itself."""
        found = {}
        async with await psycopg.AsyncConnection.connect(self.url) as admin:
            for table in ACCOUNT_TABLES:
                query = f"select count(*) from {table.name} as row where row::text like %s"
                row = await (await admin.execute(query.encode(), [f"%{account}%"])).fetchone()
                if row is not None and row[0] and table.name != "erasures":
                    found[table.name] = row[0]
        return found


@pytest.fixture
async def erasing(database: Database, database_url: str) -> AsyncIterator[Erasing]:
    made = Erasing(database, database_url)
    await made.fill()
    yield made


async def finished(erasing: Erasing) -> None:
    for license_ in erasing.world.listed:
        await erasing.listing.note(license_)
    await erasing.service.run()
    erasing.world.clock.forward(SETTLES_AFTER.total_seconds())
    await erasing.service.run()


async def test_an_export_has_every_table_as_json_and_csv_and_no_secret(erasing: Erasing) -> None:
    target = BytesIO()
    archive = AccountArchive(target, erasing.world.clock(), max_rows=None, max_bytes=None)
    await erasing.service.export(MINE, archive, "key Ab12Cd")
    with zipfile.ZipFile(target) as made:
        names = {table.name for table in ACCOUNT_TABLES} | {"licenses", "keys"}
        expected = {f"{name}.{ending}" for name in names for ending in ("json", "csv")}
        assert set(made.namelist()) == expected | {"about.json"}
        content: dict[str, Any] = {name: json.loads(made.read(f"{name}.json")) for name in names}
        text = b"".join(made.read(name) for name in made.namelist()).decode()
    assert {trade["trade_id"] for trade in content["trades"]} == {f"{MINE}-{each}" for each in range(3)}
    assert content["licenses"][0]["email"] == "a@b.example"
    for key in erasing.world.store.keys.values():
        assert key.key_hash not in text
    assert "sealed" not in content["destinations"][0]
    assert OTHER not in text


async def test_an_export_beyond_its_bounds_is_refused(erasing: Erasing) -> None:
    archive = AccountArchive(BytesIO(), erasing.world.clock(), max_rows=5, max_bytes=None)
    with pytest.raises(ExportTooLarge, match="more than 5 rows"):
        await erasing.service.export(MINE, archive, "tester")


async def test_an_erased_account_is_named_nowhere_and_another_keeps_its_rows(erasing: Erasing) -> None:
    others = await erasing.mentions(OTHER)
    preview = await erasing.service.preview(MINE)
    assert {table.table: table.rows for table in preview.tables}["trades"] == 3
    assert await erasing.mentions(MINE)
    report = await erasing.service.erase(MINE, erasing.world.service)
    assert (report.licenses, report.keys, report.complete) == (1, 1, True)
    await finished(erasing)
    assert await erasing.mentions(MINE) == {}
    assert await erasing.mentions(OTHER) == others
    kept = await erasing.mentions(str(report.pseudonym))
    # The event says that a license was revoked, and whose it was nobody can tell.
    revoked = {"license_list": 1, "notification_events": 1, "audit": 2}
    assert kept == {"trades": 3, "signals": 1, "payment_events": 1} | revoked
    assert await erasing.mentions("a@b.example") == {"payment_events": 1, "license_list": 1}
    with pytest.raises(NotFound):
        await erasing.service.preview(MINE)


async def test_a_buyer_who_never_got_a_license_is_erased_too(erasing: Erasing) -> None:
    async with await psycopg.AsyncConnection.connect(erasing.url) as admin:
        await admin.execute(
            "insert into payment_events"
            " (provider, event_id, type, kind, created_at, account_id, payload, state) values"
            """ ('stripe', 'evt_9', 't', 'paid', now(), 'acct-9', '{"customer": "acct-9"}', 'failed')"""
        )
    assert (await erasing.service.preview("acct-9")).licenses == 0
    await erasing.service.erase("acct-9", erasing.world.service)
    await finished(erasing)
    assert await erasing.mentions("acct-9") == {}
    with pytest.raises(NotFound):
        await erasing.service.erase("acct-9", erasing.world.service)


async def test_an_erasure_that_died_goes_on_under_the_same_pseudonym(erasing: Erasing) -> None:
    erasing.world.store.is_busy = True
    with pytest.raises(Exception, match="others change it"):
        await erasing.service.erase(MINE, erasing.world.service)
    erasing.world.store.is_busy = False
    erasing.world.clock.forward(SETTLES_AFTER.total_seconds())
    await erasing.service.run()
    first = await AccountStore(erasing.database).erasure_of(MINE)
    assert first is not None, "it is not finished while a license has the account"
    report = await erasing.service.erase(MINE, erasing.world.service)
    assert report.pseudonym == first.pseudonym
    await finished(erasing)
    assert await erasing.mentions(MINE) == {}


async def test_the_timers_can_change_no_account_that_is_not_erased(erasing: Erasing) -> None:
    async with erasing.database.transaction(jobs=True) as connection:
        deleted = await connection.execute("delete from trade_ids")
        assert deleted.rowcount == 0
        changed = await connection.execute("update trades set account_id = 'erased-mine'")
        assert changed.rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with erasing.database.transaction(jobs=True) as connection:
            await connection.execute("select pseudonymise_audit(%s, %s)", [OTHER, []])
