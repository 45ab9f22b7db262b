"""Licenses and keys in a real Azurite."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from azure.data.tables import TableServiceClient

from shared.adapters.tables import MAX_UPDATE_ATTEMPTS, LicenseTables
from shared.domain.access.endings import ENFORCED_FOR, Ending
from shared.domain.access.keys import new_public_id
from shared.domain.access.license_changes import resumed, suspended, with_notes
from shared.domain.access.licenses import (
    ApiKey,
    License,
    new_license_id,
    rehashed_key,
    revoked_key,
    shard_of_license_id,
)
from shared.domain.access.plans import Overrides
from shared.errors import Conflict, NotFound, Unavailable
from shared.services.endings import EndingService
from shared.services.enforcement import Enforcement
from shared.services.licenses import LicenseService
from tests.support.access_fakes import FakeAudit, FakeHub
from tests.support.license_plans import PLANS
from tests.support.memory_licenses import unlisted
from tests.support.memory_sessions import MemorySessions
from tests.support.memory_stores import MemoryStores
from tests.support.ports import free_port
from tests.support.served import served_symbols

NOW = datetime(2026, 3, 2, 14, 30, 0, 123456, tzinfo=UTC)
PEPPER = b"p" * 32


class NoCache:
    """Grants need no cache here."""

    async def store_grants(self, grants: object) -> None:
        return


def license_of(expires_at: datetime | None = None, license_id: str = "") -> License:
    return License(
        license_id=license_id or new_license_id(secrets.token_bytes),
        account_id="acct-1",
        expires_at=expires_at,
        overrides=Overrides(symbols=("ES", "NQ"), requests_per_minute=250),
        created_at=NOW,
    )


def key_of(license_: License) -> ApiKey:
    return ApiKey(
        public_id=new_public_id(shard_of_license_id(license_.license_id)),
        key_hash=secrets.token_hex(32),
        license_id=license_.license_id,
        scopes=("bot", "ops"),
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
    )


@pytest.fixture
async def tables(tables_connection_string: str) -> AsyncIterator[LicenseTables]:
    tables = LicenseTables(tables_connection_string)
    yield tables
    await tables.close()


async def test_nothing_is_there_before_the_first_write(tables: LicenseTables) -> None:
    assert await tables.get_license("lic_abcdefghijkl") is None
    assert await tables.get_key("abcdef") is None
    assert await tables.keys_of("lic_abcdefghijkl") == []
    assert await tables.licenses_of("acct-1") == []
    assert await tables.endings(NOW, NOW, 10) == []
    await tables.ping()


async def test_what_is_written_is_read_back_equal(tables: LicenseTables) -> None:
    in_grace = {"grace_until": NOW, "paid_until": NOW, "paid_plan": "pro", "payment": "stripe:sub_1"}
    paid = msgspec.structs.replace(license_of(), **in_grace)
    for license_ in (license_of(), license_of(NOW + timedelta(days=30)), paid):
        key = key_of(license_)
        await tables.add_license(license_)
        await tables.add_keys([key])
        assert await tables.get_license(license_.license_id) == license_
        assert await tables.get_key(key.public_id) == key
        assert await tables.keys_of(license_.license_id) == [key]
        stored = await tables.get_license(license_.license_id)
        assert stored is not None
        assert type(stored.created_at) is datetime
        assert msgspec.json.decode(msgspec.json.encode(stored), type=License) == license_


async def test_keys_are_told_apart_by_case(tables: LicenseTables) -> None:
    license_ = license_of(license_id="lic_abABCDEFGHIJ")
    keys = [
        msgspec.structs.replace(key_of(license_), public_id=public_id, key_hash=public_id * 4)
        for public_id in ("abCDEF", "abcdef")
    ]
    await tables.add_keys(keys)
    found = [await tables.get_key(key.public_id) for key in keys]
    assert found == keys


async def test_names_that_could_not_be_are_not_asked_for(tables: LicenseTables) -> None:
    assert await tables.get_license("lic_' or 1 eq 1") is None
    assert await tables.get_key("../..") is None
    with pytest.raises(NotFound):
        await tables.update_license("lic_/", suspended)
    with pytest.raises(NotFound):
        await tables.update_key("", revoked_key)


async def test_ids_are_taken_once(tables: LicenseTables) -> None:
    license_ = license_of()
    await tables.add_license(license_)
    with pytest.raises(Conflict):
        await tables.add_license(license_)
    first, second = key_of(license_), key_of(license_)
    await tables.add_keys([first])
    with pytest.raises(Conflict):
        await tables.add_keys([second, first])
    assert await tables.get_key(second.public_id) is None


async def test_an_update_writes_once_and_nothing_when_nothing_changed(
    tables: LicenseTables, tables_connection_string: str
) -> None:
    license_ = license_of()
    await tables.add_license(license_)

    def etag() -> str:
        with TableServiceClient.from_connection_string(tables_connection_string) as service:
            shard = shard_of_license_id(license_.license_id)
            entity = service.get_table_client("licenses").get_entity(shard, license_.license_id)
            return str(entity.metadata["etag"])

    before = etag()
    assert await tables.update_license(license_.license_id, resumed) == license_
    assert etag() == before
    assert (await tables.update_license(license_.license_id, suspended)).revision == 2
    assert etag() != before
    with pytest.raises(NotFound):
        await tables.update_license(new_license_id(secrets.token_bytes), suspended)


async def test_simultaneous_updates_lose_nothing(tables: LicenseTables) -> None:
    license_ = license_of()
    await tables.add_license(license_)

    def add_note(one: License) -> License:
        return with_notes(one, one.notes + "+")

    # With n writers at once, each loses at most n - 1 races.
    writers = MAX_UPDATE_ATTEMPTS - 1
    await asyncio.gather(*(tables.update_license(license_.license_id, add_note) for _ in range(writers)))
    stored = await tables.get_license(license_.license_id)
    assert stored is not None
    assert stored.notes == "+" * writers
    assert stored.revision == 1 + writers


async def test_who_always_loses_the_race_is_told(
    tables: LicenseTables, tables_connection_string: str
) -> None:
    license_ = license_of()
    await tables.add_license(license_)
    shard = shard_of_license_id(license_.license_id)

    def change_while_another_writes(one: License) -> License:
        with TableServiceClient.from_connection_string(tables_connection_string) as service:
            table = service.get_table_client("licenses")
            table.update_entity(
                {"PartitionKey": shard, "RowKey": one.license_id, "plan": secrets.token_hex(4)}
            )
        return suspended(one)

    with pytest.raises(Conflict):
        await tables.update_license(license_.license_id, change_while_another_writes)


async def test_the_licenses_of_an_account_are_found(tables: LicenseTables) -> None:
    mine = [license_of() for _ in range(2)]
    other = msgspec.structs.replace(license_of(), account_id="acct-other")
    for each in (*mine, other):
        await tables.add_license(each)
    found = await tables.licenses_of(mine[0].account_id)
    assert {each.license_id for each in found} == {each.license_id for each in mine}


async def test_an_ended_license_of_a_plan_is_found_and_removed_with_its_keys(tables: LicenseTables) -> None:
    over, later = (license_of(NOW + timedelta(days=days)) for days in (0, 2))
    of_plan = [msgspec.structs.replace(each, plan="gone") for each in (over, later, license_of())]
    for each in (*of_plan, other := license_of(NOW)):
        await tables.add_license(each)
    keys = [key_of(over), key_of(over)]
    await tables.add_keys(keys)
    assert await tables.ended_licenses("gone", NOW + timedelta(days=1), 9) == [of_plan[0]]
    for _ in range(2):
        await tables.remove_license(over.license_id)
    assert await tables.ended_licenses("gone", NOW + timedelta(days=1), 9) == []
    assert await tables.keys_of(over.license_id) == []
    assert await tables.get_license(other.license_id) == other


async def test_endings_are_listed_in_order_of_time_until_they_are_removed(tables: LicenseTables) -> None:
    moments = [NOW + timedelta(microseconds=step) for step in (-1, 0, 1, 2)]
    endings = [Ending(at, f"key{n}") for n, at in enumerate(moments)]
    await tables.add_endings(endings[::-1])
    await tables.add_endings(endings[:1])
    assert await tables.endings(moments[0], moments[3], 10) == endings
    assert await tables.endings(moments[1], moments[2], 10) == endings[1:3]
    assert await tables.endings(moments[0], moments[3], 2) == endings[:2]
    for closes in (True, False):
        changed = msgspec.structs.replace(endings[0], closes=closes)
        await tables.add_endings([changed])
        assert await tables.endings(moments[0], moments[0], 10) == [changed]
    for _ in range(2):
        await tables.remove_ending(endings[1])
    assert await tables.endings(moments[0], moments[3], 10) == [endings[0], *endings[2:]]


async def test_of_two_processes_that_expire_a_license_one_audits_it(
    tables: LicenseTables, tables_connection_string: str
) -> None:
    """Both have read the license before either changes it; Table Storage lets one of them."""
    others = LicenseTables(tables_connection_string)
    audit, both_are_here = FakeAudit(), asyncio.Barrier(2)

    class Hub(FakeHub):
        async def close_group(self, group: str, reason: str) -> None:
            await both_are_here.wait()

    try:
        for _ in range(5):
            license_ = license_of(NOW)
            await tables.add_license(license_)
            await tables.add_endings([Ending(NOW, license_.license_id)])
            timers = [
                EndingService(
                    store=store,
                    enforcement=Enforcement(NoCache(), Hub(), MemorySessions(), PLANS),
                    audit=audit,
                    listed=unlisted,
                    actor="timer",
                )
                for store in (tables, others)
            ]
            later = NOW + ENFORCED_FOR
            assert await asyncio.gather(*(timer.run(later) for timer in timers)) == [1, 1]
            assert audit.entries.count(("timer", "license expired", license_.license_id)) == 1
            stored = await tables.get_license(license_.license_id)
            assert stored is not None
            assert (stored.status, stored.revision) == ("expired", 2)
    finally:
        await others.close()


async def test_a_thousand_keys_are_made_quickly(tables: LicenseTables) -> None:
    service = LicenseService(
        plans=PLANS,
        store=tables,
        enforcement=Enforcement(NoCache(), FakeHub(), MemorySessions(), PLANS),
        served=served_symbols(MemoryStores(NOW)),
        audit=FakeAudit(),
        listed=unlisted,
        actor="tester",
        pepper=PEPPER,
        now=lambda: datetime.now(UTC),
    )
    license_ = await service.create_license("load", plan="load")
    async with asyncio.timeout(20):
        plain = await service.create_keys(license_.license_id, 1_000)
    stored = await tables.keys_of(license_.license_id)
    assert {each[8:14] for each in plain} == {key.public_id for key in stored}
    assert len(stored) == 1_000


async def test_a_damaged_row_is_told_as_unavailable(
    tables: LicenseTables, tables_connection_string: str
) -> None:
    license_ = license_of()
    await tables.add_license(license_)
    shard = shard_of_license_id(license_.license_id)
    with TableServiceClient.from_connection_string(tables_connection_string) as service:
        damaged = {"PartitionKey": shard, "RowKey": license_.license_id, "status": "unheard of"}
        service.get_table_client("licenses").update_entity(damaged)
    with pytest.raises(Unavailable) as refused:
        await tables.get_license(license_.license_id)
    assert "status" in refused.value.internal


@pytest.mark.parametrize(
    "name", ["20260302T143000.123456x_key", "20261332T143000.0_key", "20260302_key", "3"]
)
async def test_a_damaged_ending_is_told_as_unavailable(
    tables: LicenseTables, tables_connection_string: str, name: str
) -> None:
    await tables.add_endings([Ending(NOW, "Ab12Cd")])
    with TableServiceClient.from_connection_string(tables_connection_string) as service:
        damaged = {"PartitionKey": "endings", "RowKey": name}
        service.get_table_client("endings").create_entity(damaged)
    with pytest.raises(Unavailable) as refused:
        await tables.endings(datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC), 10)
    assert "endings is damaged" in refused.value.internal


async def test_a_store_that_is_away_is_told_within_the_bound(tables_connection_string: str) -> None:
    port = tables_connection_string.partition("TableEndpoint=http://127.0.0.1:")[2].partition("/")[0]
    tables = LicenseTables(tables_connection_string.replace(port, str(free_port())))
    async with asyncio.timeout(3.5):
        with pytest.raises(Unavailable) as refused:
            await tables.get_key("abcdef")
    assert refused.value.code == "key_store_unavailable"
    await tables.close()


# The SDK tests an XML element's truth value while it reads this error.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
async def test_a_wrong_account_key_is_told_as_unavailable(tables_connection_string: str) -> None:
    start, _, rest = tables_connection_string.partition("AccountKey=")
    tables = LicenseTables(f"{start}AccountKey={'A' * 86}==;{rest.partition(';')[2]}")
    with pytest.raises(Unavailable) as refused:
        await tables.get_key("abcdef")
    assert "A" * 20 not in refused.value.internal
    await tables.close()


async def test_keys_that_were_hashed_anew_are_told_from_the_others(tables: LicenseTables) -> None:
    license_ = license_of()
    moved, stays = key_of(license_), key_of(license_)
    await tables.add_keys([moved, stays])
    later = NOW + timedelta(hours=1)
    changed = await tables.update_key(
        moved.public_id, lambda key: rehashed_key(key, moved.key_hash, "f" * 64, later)
    )
    assert (changed.key_hash, changed.previous_hash, changed.hashed_at) == ("f" * 64, moved.key_hash, later)
    assert await tables.get_key(moved.public_id) == changed
    assert await tables.keys_hashed_before(later) == [stays]
    assert await tables.keys_hashed_before(NOW) == []
