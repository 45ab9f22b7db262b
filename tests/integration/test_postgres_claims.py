"""Uses of claim links on a real server: one commits, others wait for it, and a failed one leaves no trace."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from shared.adapters.postgres import (
    AccountsOfTests,
    ClaimStore,
    Database,
    LicenseList,
    Outbox,
    SignalStore,
    TradeStore,
    Upkeep,
)
from shared.domain.access.claims import Claim
from shared.domain.access.licenses import License
from shared.domain.access.plans import Overrides
from tests.support.samples import a_draft, a_trade

CLAIM = Claim("lic_Ab0000000000", "first_key", datetime(2026, 3, 2, 14, 30, tzinfo=UTC))


async def test_a_claim_is_used_once_and_a_use_that_fails_leaves_it_good(database: Database) -> None:
    store = ClaimStore(database)
    with pytest.raises(RuntimeError):
        async with store.use(CLAIM) as used_at:
            assert used_at is None
            raise RuntimeError("died")
    entered = asyncio.Event()
    may_end = asyncio.Event()

    async def first() -> datetime | None:
        async with store.use(CLAIM) as used_at:
            entered.set()
            await may_end.wait()
            return used_at

    async def second() -> datetime | None:
        await entered.wait()
        async with store.use(CLAIM) as used_at:
            assert may_end.is_set(), "a second use waits for the first"
            return used_at

    uses = asyncio.gather(first(), second())
    await entered.wait()
    asyncio.get_running_loop().call_later(0.05, may_end.set)
    one, other = await uses
    assert one is None
    assert other is not None
    async with store.use(Claim(CLAIM.license_id, "lost_key", CLAIM.issued_at)) as used_at:
        assert used_at is None, "another purpose is another link"


async def test_licenses_are_found_by_their_holders_address(database: Database) -> None:
    licenses = [
        License(
            license_id=f"lic_Ab000000000{number}",
            account_id=f"acct-{number}",
            plan="pro",
            overrides=Overrides(price=Decimal("12.50")),
            email=email,
            expires_at=CLAIM.issued_at,
            created_at=CLAIM.issued_at,
        )
        for number, email in enumerate(("Me@Example.com", "me@example.com", "you@example.com", None))
    ]
    await LicenseList(database).put(licenses, lambda before, after: [])
    store = ClaimStore(database)
    assert await store.with_email("me@example.com", 9) == licenses[:2]
    assert await store.with_email("me@example.com", 1) == licenses[:1]
    assert await store.with_email("nobody@example.com", 9) == []


async def test_upkeep_forgets_old_uses_and_old_test_signals(database: Database, database_url: str) -> None:
    async with ClaimStore(database).use(CLAIM):
        pass
    signals, now = SignalStore(database), datetime.now(UTC)
    for symbol in ("TEST", "ES"):
        for age in (50, 40, 1):
            await signals.publish(a_draft(symbol, received_at=now - timedelta(hours=age)))
    async with Outbox(database).batch("TEST") as batch:
        await batch.sent(1)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("delete from outbox where symbol = 'TEST' and sequence = 1")
    upkeep = Upkeep(database)
    assert await upkeep.prune_test_signals(now - timedelta(days=1)) == 1, "what was not sent stays"
    assert len(await signals.list("ES", after=0, limit=9)) == 3
    assert await upkeep.prune_claims(now - timedelta(minutes=1)) == 0
    assert await upkeep.prune_claims(now + timedelta(minutes=1)) == 1
    latency = await signals.latency_ms(now - timedelta(days=9))
    assert latency.count == 0, "the test stream is in no statistics"


async def test_timers_remove_the_rows_of_test_accounts_and_of_no_others(
    database: Database, database_url: str
) -> None:
    trades, exit_at = TradeStore(database), datetime.now(UTC)
    for account in ("sc-test-one", "sc-test-two", "acct-1"):
        await trades.record(account, "key", [a_trade(exit_at=exit_at)])
    rows = AccountsOfTests(database)
    test = License(license_id="lic_Ab0000000001", account_id="sc-test-one", plan="test", created_at=exit_at)
    listed = LicenseList(database)
    await listed.put([test], lambda before, after: [])
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "insert into misuse_days values ('sc-test-one', '2026-03-02', 1, 0, 0, 0, 0, 0)"
        )
    await rows.remove("sc-test-one", test.license_id)
    await rows.remove("acct-1", "lic_Ab0000000002")
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute("""
            select table_name from information_schema.columns
            where table_schema = 'public' and column_name = 'account_id' and table_name !~ '^trades_[0-9]'
        """)
        tables = [name for (name,) in await found.fetchall()]
        left = {}
        for table in tables:
            query = f"select distinct account_id from {table} where account_id is not null"
            left[table] = {account for (account,) in await (await connection.execute(query)).fetchall()}
    assert left["trades"] == left["trade_ids"] == left["trade_days"] == {"sc-test-two", "acct-1"}
    assert not any("sc-test-one" in accounts for accounts in left.values()), left
