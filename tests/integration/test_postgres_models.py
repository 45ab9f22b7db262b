"""Model versions, the audit trail and upkeep on a real server."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from shared.adapters.postgres import (
    Audit,
    BarStore,
    Database,
    ModelStore,
    Outbox,
    SignalStore,
    TradeStore,
    Upkeep,
)
from shared.domain.confidence.models import StoredModel
from shared.errors import InvalidInput, NotFound
from shared.services.upkeep import MONTHS_AHEAD, UpkeepService
from tests.support.samples import START, a_bar, a_draft, a_trade

NOW = datetime(2025, 11, 20, 12, 0, tzinfo=UTC)


def a_model(version: str = "vwap_bounce-1", **changes: object) -> StoredModel:
    model = StoredModel(
        version=version,
        strategy="vwap_bounce",
        status="candidate",
        basis="model",
        artefact=bytes(range(256)),
        document={"base_rate": 0.694, "n": 517, "scores": {"brier": [0.2, 0.21]}, "note": None},
        created_at=START,
    )
    return StoredModel(**({name: getattr(model, name) for name in model.__struct_fields__} | changes))


async def test_a_model_reads_back_as_it_was_stored(database: Database) -> None:
    store = ModelStore(database)
    await store.add(a_model())
    assert await store.champion("vwap_bounce") is None
    await store.promote("vwap_bounce-1")
    assert await store.champion("vwap_bounce") == a_model(status="champion")


async def test_a_version_never_changes(database: Database) -> None:
    store = ModelStore(database)
    await store.add(a_model())
    await store.add(a_model(artefact=b"other"))
    await store.promote("vwap_bounce-1")
    champion = await store.champion("vwap_bounce")
    assert champion is not None
    assert champion.artefact == bytes(range(256))


async def test_a_promotion_retires_the_former_champion_of_that_strategy_alone(database: Database) -> None:
    store = ModelStore(database)
    await store.add(a_model("v1"))
    await store.add(a_model("v2", created_at=START + timedelta(days=1), basis="base_rate", artefact=None))
    await store.add(a_model("other", strategy="capitulation_reversal"))
    for version in ("other", "v1", "v2", "v2"):
        await store.promote(version)
    assert [(model.version, model.status) for model in await store.list("vwap_bounce")] == [
        ("v2", "champion"),
        ("v1", "retired"),
    ]
    assert {model.version for model in await store.list(None)} == {"v1", "v2", "other"}
    assert {model.artefact for model in await store.list(None)} == {None}
    champion = await store.champion("capitulation_reversal")
    assert champion is not None
    assert champion.version == "other"


async def test_promotions_at_once_leave_one_champion(database: Database) -> None:
    store = ModelStore(database)
    versions = [f"v{n}" for n in range(6)]
    for version in versions:
        await store.add(a_model(version))
    await asyncio.gather(*(store.promote(version) for version in versions))
    assert [model.status for model in await store.list("vwap_bounce")].count("champion") == 1


async def test_an_unknown_version_cannot_be_promoted(database: Database) -> None:
    with pytest.raises(NotFound):
        await ModelStore(database).promote("nobody")


async def test_a_champion_is_promoted_not_added(database: Database) -> None:
    with pytest.raises(ValueError, match="promote"):
        await ModelStore(database).add(a_model(status="champion"))


async def test_a_model_needs_its_artefact(database: Database) -> None:
    with pytest.raises(InvalidInput):
        await ModelStore(database).add(a_model(artefact=None))


async def test_the_functions_role_cannot_store_models(database: Database) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction() as connection:
            await connection.execute("update models set status = 'champion'")


async def test_audit_entries_are_added_and_never_changed(database: Database, database_url: str) -> None:
    await Audit(database).write("ops", "license.suspended", "lic_1", {"reason": "unpaid", "days": 3})
    for statement in (
        "delete from audit",
        "update audit set actor = 'nobody'",
        "insert into audit (actor, action, subject, detail) values ('another', 'a', 'b', '{}')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.transaction() as connection:
                await connection.execute(statement)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute("select actor, action, subject, detail from audit")
        assert await cursor.fetchall() == [
            ("signal_cloud: ops", "license.suspended", "lic_1", {"reason": "unpaid", "days": 3})
        ]


async def partitions(database_url: str) -> list[str]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'trades'::regclass order by 1"
        )
        return [name for (name,) in await cursor.fetchall()]


def upkeep_of(database: Database) -> UpkeepService:
    async def nothing() -> None: ...

    async def none(now: datetime) -> int:
        return 0

    return UpkeepService(Upkeep(database), nothing, nothing, none)


async def test_upkeep_makes_the_coming_months_across_a_new_year(
    database: Database, database_url: str
) -> None:
    before = await partitions(database_url)
    report = await upkeep_of(database).run(datetime(2024, 11, 30, tzinfo=UTC))
    assert report.partitions == MONTHS_AHEAD + 1
    assert sorted({*await partitions(database_url)} - {*before}) == [
        "trades_2024_11",
        "trades_2024_12",
        "trades_2025_01",
        "trades_2025_02",
    ]
    again = await upkeep_of(database).run(datetime(2024, 11, 30, tzinfo=UTC))
    assert not any(msgspec.structs.astuple(again))


async def test_upkeep_drops_what_outlived_its_use_and_no_trade(database: Database, database_url: str) -> None:
    signals, outbox, bars, trades = (
        SignalStore(database),
        Outbox(database),
        BarStore(database),
        TradeStore(database),
    )
    now = datetime.now(UTC)
    for age in (200, 100, 3, 0):
        await signals.publish(a_draft(received_at=now - timedelta(days=age)))
    async with outbox.batch("ES") as batch:
        await batch.sent(3)  # the newest waits, and stays however old it gets
    await signals.publish(a_draft("NQ", received_at=now - timedelta(days=200)))  # never sent, so kept
    await bars.insert("ES", [a_bar(0), a_bar(1)], "live", now)
    await bars.insert("NQ", [a_bar(-60 * 24 * 800, volume=volume) for volume in (1, 2)], "live", now)
    await bars.insert("ES", [a_bar(1, volume=2)], "live", now)
    await Upkeep(database).ensure_partitions(datetime(2001, 1, 1, tzinfo=UTC))
    await trades.record("account", "key", [a_trade(exit_at=datetime(2001, 1, 1, tzinfo=UTC))])
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "update outbox set sent_at = %s where sequence < 3 and symbol = 'ES'", [now - timedelta(days=3)]
        )

    upkeep = upkeep_of(database)
    report = await upkeep.run(START + timedelta(days=30))
    assert (report.bars, report.signals) == (1, 0)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        kept = await (await connection.execute("select symbol from bar_changes")).fetchall()
    assert kept == [("ES",)], "the changes of a bar go with it"
    report = await upkeep.run(now)
    assert (report.outbox, report.signals) == (2, 2)
    assert [signal.sequence for signal in await signals.list("ES", after=0, limit=9)] == [3, 4]
    assert len(await signals.list("NQ", after=0, limit=9)) == 1
    assert (await signals.publish(a_draft()))[0].sequence == 5
    assert len(await trades.page("account", symbol=None, since=None, until=None, before=None, limit=9)) == 1
