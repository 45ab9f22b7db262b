"""How fresh the grants that a process keeps are, and what it does while servers are unavailable."""

import asyncio
from collections import Counter
from datetime import timedelta
from unittest.mock import patch

import pytest

from shared.domain.access.keys import hash_key, new_key
from shared.errors import Unavailable
from shared.services import grants
from shared.services.grants import refresh_below_ms
from tests.support.access_world import World
from tests.support.license_plans import PLANS


@pytest.fixture
def world() -> World:
    return World()


async def test_use_keeps_a_grant_fresh_for_an_outage(world: World) -> None:
    bot = await world.bot(limit=10)
    await world.admit(bot.plain)
    world.clock.forward(grants.STALE_FOR.total_seconds() - 10)
    await world.admit(bot.plain)
    world.clock.forward(grants.STALE_FOR.total_seconds() - 10)
    world.cache.away = world.store.away = True
    assert (await world.admit(bot.plain)).rate is None


async def test_a_record_in_use_is_read_again_by_one_process_and_no_request_waits_for_it(
    world: World,
) -> None:
    bot = await world.bot(limit=1_000)
    processes = [world.process() for _ in range(4)]
    for process in processes:
        await process.admit(f"Bearer {bot.plain}", "bot")
    reads = world.store.reads
    before_s = refresh_below_ms(bot.key.key_hash) / 1000
    world.clock.forward(60 - before_s - 1)
    for process in processes:
        await process.admit(f"Bearer {bot.plain}", "bot")
        assert not process._grants._refreshes
    world.clock.forward(2)
    for process in processes * 5:
        await process.admit(f"Bearer {bot.plain}", "bot")
    assert world.store.reads == reads, "nobody waited"
    await asyncio.gather(*(task for process in processes for task in process._grants._refreshes))
    assert world.store.reads == reads + 1
    world.clock.forward(before_s)  # past the first record's end
    world.cache.claims[bot.key.key_hash] = world.clock() + timedelta(hours=1)
    for process in processes:
        await process.admit(f"Bearer {bot.plain}", "bot")
    assert world.store.reads == reads + 1


def test_keys_loaded_together_are_read_again_apart() -> None:
    moments = [refresh_below_ms(hash_key(new_key("Ab12Cd"), b"p" * 32)) for _ in range(1_000)]
    assert 10_000 <= min(moments) < 11_000
    assert 39_000 < max(moments) <= 40_000
    assert max(Counter(moment // 1_000 for moment in moments).values()) < 80


async def test_a_record_that_cannot_be_read_again_serves_to_its_end(world: World) -> None:
    bot = await world.bot(limit=100)
    await world.admit(bot.plain)
    world.store.away = True
    world.clock.forward(51)
    await world.admit(bot.plain)
    assert world.access._grants._refreshes
    await asyncio.gather(*world.access._grants._refreshes)
    world.clock.forward(8)
    assert (await world.admit(bot.plain)).rate is not None


async def test_without_redis_a_revocation_takes_five_seconds_at_most(world: World) -> None:
    bot = await world.bot()
    await world.admit(bot.plain)
    world.cache.away = True
    effect = await world.licenses.revoke_key(bot.key.public_id)
    assert not effect.caches_told
    world.clock.forward(grants.KNOWN_FOR.total_seconds())
    await world.admit(bot.plain)
    world.clock.forward(0.001)
    assert (await world.refusal(bot.plain)).code == "key_revoked"


async def test_without_both_stores_known_keys_work_for_a_minute_and_no_longer(world: World) -> None:
    bot = await world.bot()
    await world.admit(bot.plain)
    world.cache.away = world.store.away = True
    for _ in range(6):
        world.clock.forward(10)
        await world.admit(bot.plain)
    world.clock.forward(0.001)
    assert (await world.refusal(bot.plain)).code == "key_store_unavailable"
    world.store.away = False
    await world.admit(bot.plain)


async def test_without_both_stores_a_new_key_is_refused(world: World) -> None:
    bot = await world.bot()
    world.cache.away = world.store.away = True
    error = await world.refusal(bot.plain)
    assert isinstance(error, Unavailable)
    assert error.code == "key_store_unavailable"


async def test_with_the_key_store_away_cached_licenses_go_on(world: World) -> None:
    bot = await world.bot()
    await world.admit(bot.plain)
    world.store.away = True
    admitted = await world.admit(bot.plain)
    assert admitted.rate is not None
    world.cache.records.clear()
    assert (await world.admit(bot.plain)).rate is None


async def test_a_slow_reader_of_the_key_store_does_not_undo_a_revocation(world: World) -> None:
    bot = await world.bot()
    before = (world.store.licenses[bot.key.license_id], world.store.keys[bot.key.public_id])
    await world.licenses.revoke_key(bot.key.public_id)
    await world.cache.store_grant(bot.key.key_hash, PLANS.grant(*before))
    assert (await world.refusal(bot.plain)).code == "key_revoked"


async def test_an_invented_key_is_looked_up_once_in_a_while(world: World) -> None:
    await world.bot()
    invented = new_key("Zz99Zz")
    for _ in range(20):
        assert (await world.refusal(invented)).code == "key_unknown"
    assert world.store.reads == 1
    world.clock.forward(grants.UNKNOWN_FOR.total_seconds())
    await world.refusal(invented)
    assert world.store.reads == 2


async def test_what_is_remembered_of_invented_keys_is_bounded(world: World) -> None:
    with patch.object(grants, "MAX_UNKNOWN", 5):
        for _ in range(12):
            await world.refusal(new_key("Zz99Zz"))
    assert len(world.access._grants._unknown) == 5


async def test_what_is_remembered_of_known_keys_is_bounded(world: World) -> None:
    bots = [await world.bot() for _ in range(6)]
    with patch.object(grants, "MAX_KNOWN", 4):
        for bot in bots:
            await world.admit(bot.plain)
    assert len(world.access._grants._known) == 4


async def test_simultaneous_first_requests_read_the_key_store_once(world: World) -> None:
    bot = await world.bot(limit=100)
    admitted = await asyncio.gather(*(world.admit(bot.plain) for _ in range(50)))
    assert world.store.reads == 1
    remaining = sorted(each.rate.remaining for each in admitted if each.rate is not None)
    assert remaining == list(range(50, 100))


async def test_who_asked_first_and_leaves_does_not_take_the_others_along(world: World) -> None:
    bot = await world.bot()
    first = asyncio.ensure_future(world.admit(bot.plain))
    second = asyncio.ensure_future(world.admit(bot.plain))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).grant.key == bot.key


async def test_lookups_of_invented_keys_leave_room_for_known_ones(world: World) -> None:
    bot = await world.bot()
    await world.admit(bot.plain)
    hold = asyncio.Event()
    read = world.store.get_key

    async def slow(public_id: str) -> object:
        if public_id.startswith("Zz"):
            await hold.wait()
        return await read(public_id)

    with patch.object(world.store, "get_key", slow), patch.object(grants, "STRANGER_WAIT_S", 0.05):
        crowd = [asyncio.ensure_future(world.refusal(new_key("Zz99Zz"))) for _ in range(40)]
        waiting = set(crowd)
        while len(waiting) > grants.MAX_STRANGER_LOOKUPS:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=5)
            assert {each.result().code for each in done} == {"key_store_unavailable"}
        world.cache.records.clear()
        assert (await world.admit(bot.plain)).grant.key == bot.key
        hold.set()
        codes = [error.code for error in await asyncio.gather(*crowd)]
    assert codes.count("key_unknown") == grants.MAX_STRANGER_LOOKUPS


async def test_a_lookup_that_finds_no_key_keeps_its_slot_and_one_that_finds_a_key_does_not(
    world: World,
) -> None:
    with (
        patch.object(grants, "STRANGER_WAIT_S", 0.01),
        patch.object(grants, "UNKNOWN_HOLD_S", 0.05),
        patch.object(world.access._grants, "_strangers", asyncio.Semaphore(1)),
    ):
        for _ in range(3):
            bot = await world.bot()
            assert (await world.admit(bot.plain)).grant.key == bot.key
        assert (await world.refusal(new_key("Zz99Zz"))).code == "key_unknown"
        assert (await world.refusal(new_key("Zz99Za"))).code == "key_store_unavailable"
        await asyncio.sleep(0.06)
        assert (await world.refusal(new_key("Zz99Zb"))).code == "key_unknown"


async def test_a_record_that_is_near_its_own_end_is_read_again_once_in_ten_seconds(world: World) -> None:
    bot = await world.bot(limit=1_000)
    await world.admit(bot.plain)
    with patch.object(world.store, "get_key", wraps=world.store.get_key) as asked:
        for seconds, calls in ((0, 1), (9.9, 1), (0.1, 2)):
            world.clock.forward(seconds)
            world.cache.claims.clear()
            # Less life than any key's threshold, however often it is read again.
            world.cache.ends_at[bot.key.key_hash] = world.clock() + timedelta(seconds=9)
            await world.admit(bot.plain)
            await asyncio.gather(*world.access._grants._refreshes)
            assert asked.call_count == calls


async def test_a_grant_that_was_slow_to_read_is_not_cached(world: World) -> None:
    bot = await world.bot()
    read = world.store.get_license

    for seconds, cached in ((grants.MAX_LOAD.total_seconds(), False), (19.9, True)):

        async def slow(license_id: str, seconds: float = seconds) -> object:
            world.clock.forward(seconds)
            return await read(license_id)

        with patch.object(world.store, "get_license", slow):
            admitted = await world.admit(bot.plain)
        assert (bot.key.key_hash in world.cache.records) is cached
        assert (admitted.rate is not None) is cached


async def test_a_key_whose_license_is_gone_is_unknown(world: World) -> None:
    bot = await world.bot()
    world.store.licenses.clear()
    assert (await world.refusal(bot.plain)).code == "key_unknown"


async def test_while_the_key_store_is_away_known_keys_ask_it_once_in_a_while(world: World) -> None:
    bot = await world.bot(limit=100)
    await world.admit(bot.plain)
    world.cache.records.clear()
    world.cache.forgetful = world.store.away = True
    with patch.object(world.store, "get_key", wraps=world.store.get_key) as asked:
        for seconds, calls in ((0, 1), (3.9, 1), (0.1, 2), (1.0, 2)):
            world.clock.forward(seconds)
            assert (await world.admit(bot.plain)).rate is None
            assert asked.call_count == calls


async def test_a_full_waiting_room_says_when_to_come_again(world: World) -> None:
    with (
        patch.object(grants, "STRANGER_WAIT_S", 0.01),
        patch.object(world.access._grants, "_strangers", asyncio.Semaphore(0)),
    ):
        error = await world.refusal(new_key("Zz99Zz"))
    assert (error.code, error.retry_after_s) == ("key_store_unavailable", 1)
    assert error.detail == "Too many keys are being looked up; try again."


def test_what_the_texts_promise() -> None:
    assert (timedelta(seconds=4), timedelta(seconds=60)) == (grants.KNOWN_FOR, grants.STALE_FOR)
    assert (timedelta(seconds=5), 8) == (grants.UNKNOWN_FOR, grants.MAX_STRANGER_LOOKUPS)
    assert grants.MAX_STRANGER_LOOKUPS / grants.UNKNOWN_HOLD_S == 10  # a second
    assert refresh_below_ms("0000") == 10_000
    assert refresh_below_ms("ffff") == 40_000
