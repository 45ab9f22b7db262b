"""Hooks on a real server: each account sees its own, a license has a bounded number, secrets change once."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from shared.adapters.alert_mappings import shipped_mappings
from shared.adapters.postgres import Database, HookStore, SignalStore
from shared.domain.access.hooks import MAX_HOOKS, Hook
from shared.errors import Conflict
from tests.support.samples import START, a_draft

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
HOOK = Hook(
    hook_id="hook_Ab12Cd34Ef56",
    account_id="acct-1",
    license_id="lic_1",
    public_id="Ab12Cd",
    name="chart",
    mapping="tradingview",
    strategy="my_chart",
    symbols=("ES", "NQ"),
    addresses=("tradingview", "2001:db8::/32"),
    created_at=NOW,
)


@pytest.fixture
def store(database: Database) -> HookStore:
    return HookStore(database)


async def test_a_hook_reads_back_as_it_was_made(store: HookStore) -> None:
    own = msgspec.structs.replace(
        HOOK, hook_id="hook_own000000000"[:17], public_id="ownown", mapping=shipped_mappings()["plain"]
    )
    await store.add(HOOK)
    await store.add(own)
    assert await store.of_secret("acct-1", "Ab12Cd") == HOOK
    assert await store.of_secret("acct-1", "ownown") == own
    assert {hook.hook_id for hook in await store.of_account("acct-1", None)} == {HOOK.hook_id, own.hook_id}
    assert await store.of_account("acct-1", "lic_2") == []


async def test_an_account_sees_its_own_hooks_alone_and_an_operator_any(store: HookStore) -> None:
    await store.add(HOOK)
    assert await store.of_secret("acct-2", "Ab12Cd") is None
    assert await store.get("acct-2", HOOK.hook_id) is None
    assert await store.of_account("acct-2", None) == []
    assert await store.end("acct-2", HOOK.hook_id, NOW) is None
    assert await store.get(None, HOOK.hook_id) == HOOK


async def test_the_last_two_secrets_open_a_hook(store: HookStore) -> None:
    await store.add(HOOK)
    rotated = await store.rotate(HOOK, "second", NOW)
    assert rotated is not None
    assert (rotated.public_id, rotated.previous_public_id, rotated.rotated_at) == ("second", "Ab12Cd", NOW)
    assert await store.rotate(HOOK, "others", NOW) is None, "rotated since it was read"
    await store.rotate(rotated, "third0", NOW)
    opened = {name: await store.of_secret("acct-1", name) for name in ("Ab12Cd", "second", "third0")}
    assert {name for name, hook in opened.items() if hook} == {"second", "third0"}


async def test_an_ended_hook_opens_no_more(store: HookStore) -> None:
    await store.add(HOOK)
    ended = await store.end("acct-1", HOOK.hook_id, NOW)
    assert await store.end("acct-1", HOOK.hook_id, NOW + timedelta(hours=1)) == ended
    assert await store.of_secret("acct-1", "Ab12Cd") is None
    assert await store.rotate(HOOK, "second", NOW) is None
    assert (await store.of_account("acct-1", None)) == [ended]


async def test_a_license_has_a_bounded_number_of_hooks_also_if_many_are_made_at_once(
    store: HookStore,
) -> None:
    def another(number: int) -> Hook:
        return msgspec.structs.replace(HOOK, hook_id=f"hook_{number:012}", public_id=f"{number:06}")

    made = await asyncio.gather(
        *(store.add(another(n)) for n in range(MAX_HOOKS + 3)), return_exceptions=True
    )
    assert sum(isinstance(each, Conflict) for each in made) == 3
    kept = await store.of_account("acct-1", None)
    assert len(kept) == MAX_HOOKS
    await store.end("acct-1", kept[0].hook_id, NOW)
    await store.add(another(99))


async def test_the_last_signal_of_a_strategy_is_that_of_its_publisher(database: Database) -> None:
    signals = SignalStore(database)
    for minute, publisher, kind in ((1, "acct-1", "entry"), (2, "acct-2", "entry"), (3, "acct-1", "exit")):
        draft = a_draft(event_at=START + timedelta(minutes=minute), price=Decimal(6500 + minute))
        expires_at = draft.expires_at if kind == "entry" else None
        changed = msgspec.structs.replace(draft, publisher=publisher, kind=kind, expires_at=expires_at)
        await signals.publish(changed)
    last = await signals.last_of("acct-1", changed.strategy, "ES")
    assert last is not None
    assert last.kind == "exit"
    last = await signals.last_of("acct-2", changed.strategy, "ES")
    assert last is not None
    assert last.kind == "entry"
    assert await signals.last_of("acct-1", "another", "ES") is None
