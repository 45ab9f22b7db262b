"""A revocation that Redis has missed holds in every process within five seconds."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest

from shared.domain.access.endings import ENFORCED_FOR, Ending
from shared.errors import SignalCloudError
from shared.services import ending_watch
from shared.services.access import AccessService
from tests.support.access_world import World

FIVE_S = 5.0
NEVER_ENDS = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World()


async def code(process: AccessService, key: str) -> str:
    try:
        await process.admit(f"Bearer {key}", "bot")
    except SignalCloudError as error:
        return error.code
    return "admitted"


async def settle() -> None:
    """Lets reads in the background end."""
    for _ in range(10):
        await asyncio.sleep(0)


async def missed(world: World, plain: str, public_id: str) -> None:
    """A revocation while Redis hangs; afterwards Redis is back with the record from before."""
    records = dict(world.cache.records)
    world.cache.away = True
    assert not (await world.licenses.revoke_key(public_id)).caches_told
    world.cache.away = False
    world.cache.records = records


@pytest.mark.parametrize("ends", ["revoke key", "revoke license", "suspend", "rotate"])
async def test_a_record_from_before_the_outage_serves_five_seconds_at_most(world: World, ends: str) -> None:
    bot = await world.bot(limit=1_000)
    busy, idle, fresh = world.process(), world.process(), world.process()
    for process in (busy, idle):
        assert await code(process, bot.plain) == "admitted"
    world.cache.away = True
    if ends == "revoke key":
        await world.licenses.revoke_key(bot.key.public_id)
    elif ends == "revoke license":
        await world.licenses.revoke_license(bot.key.license_id)
    elif ends == "suspend":
        await world.licenses.suspend_license(bot.key.license_id)
    else:
        await world.licenses.rotate_key(bot.key.public_id, timedelta(0))
    world.cache.away = False
    for _ in range(5):
        await code(busy, bot.plain)
        await settle()
        world.clock.forward(0.98)
    world.clock.forward(0.2)
    for process in (busy, idle, fresh):
        assert await code(process, bot.plain) != "admitted"
    world.clock.forward(30)
    for process in (busy, idle, fresh):
        assert await code(process, bot.plain) != "admitted", "the record in Redis lives on"


async def asked_for_a_confidence(process: AccessService, key: str) -> str:
    """As the route of confidences judges its caller: first the header, then the key, then all of it."""
    authorization = f"Bearer {key}"
    try:
        if not process.trusts(authorization):
            await process.meet(authorization, "bot")
        await process.admit(authorization, "bot", confidence_key="confidence:ES")
    except SignalCloudError as error:
        return error.code
    return "admitted"


@pytest.mark.parametrize("asks", [code, asked_for_a_confidence])
@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("idle_s", [1.0, 60.0, 125.0, ENFORCED_FOR.total_seconds() + 5, 3_600.0])
@pytest.mark.parametrize("second", ["revoke license", "suspend", "revoke key"])
async def test_a_second_ending_is_noticed_as_the_first_was(
    world: World,
    second: str,
    idle_s: float,
    is_known: bool,
    asks: Callable[[AccessService, str], Awaitable[str]],
) -> None:
    """A process that knew the first ending of a license took the second for the same."""
    bot, other = await world.bot(limit=1_000), await world.bot(limit=1_000)
    license_id, public_id, process = bot.key.license_id, bot.key.public_id, world.process()
    if is_known:
        assert await asks(process, bot.plain) == "admitted"
    if second == "revoke key":
        # A key ends twice if its first record is of a command that died before it changed the key.
        await world.store.add_endings([Ending(world.clock(), public_id)])
    else:
        await world.licenses.suspend_license(license_id)
    world.clock.forward(FIVE_S)
    assert await asks(process, other.plain) == "admitted", "which reads the first ending"
    if second != "revoke key":
        await world.licenses.resume_license(license_id)
    world.clock.forward(idle_s)
    assert await asks(world.process(), bot.plain) == "admitted", "which makes a new record in Redis"
    records = dict(world.cache.records)
    world.cache.away = True
    if second == "revoke license":
        await world.licenses.revoke_license(license_id)
    elif second == "suspend":
        await world.licenses.suspend_license(license_id)
    else:
        await world.licenses.revoke_key(public_id)
    world.cache.away, world.cache.records = False, records
    world.clock.forward(FIVE_S)
    for _ in range(3):
        assert await asks(process, bot.plain) in {"license_revoked", "license_suspended", "key_revoked"}


@pytest.mark.parametrize("off_by_s", [-299, -180, -121, -60, -6, 6, 60, 121, 299])
async def test_an_ending_is_noticed_however_the_operators_clock_differs(world: World, off_by_s: int) -> None:
    bot = await world.bot(limit=1_000)
    process = world.process()
    assert await code(process, bot.plain) == "admitted"
    records = dict(world.cache.records)
    world.clock.forward(off_by_s)
    world.cache.away = True
    await world.licenses.revoke_key(bot.key.public_id)
    world.clock.forward(-off_by_s)
    world.cache.away, world.cache.records = False, records
    # As long as Redis can keep a record from before.
    for _ in range(16):
        world.clock.forward(FIVE_S)
        for each in (process, world.process()):
            assert await code(each, bot.plain) == "key_revoked"
        world.cache.records, world.cache.ends_at = records, dict.fromkeys(records, NEVER_ENDS)


async def test_a_list_that_breaks_the_reader_refuses_nobody_and_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bot = await world.bot(limit=1_000)
    process = world.process()
    await code(process, bot.plain)
    asked = []

    async def broken(*_: object) -> None:
        asked.append(world.clock())
        raise ValueError("a name that nobody expected")

    with patch.object(world.store, "endings", broken):
        for _ in range(100):
            world.clock.forward(0.5)
            assert await code(process, bot.plain) == "admitted"
            await settle()
    assert len(asked) <= 50 / ending_watch.READ_EVERY.total_seconds() + 1, "not with every request"
    told = [record for record in caplog.records if "recent endings" in record.getMessage()]
    assert len(told) == 1
    assert told[0].exc_info is not None
    await missed(world, bot.plain, bot.key.public_id)
    world.clock.forward(FIVE_S)
    await code(process, bot.plain)
    await settle()
    assert await code(process, bot.plain) == "key_revoked", "it reads again"


async def test_an_ending_that_is_announced_and_made_later_is_noticed_too(world: World) -> None:
    """The announcement comes first: a process may read the key between the two."""
    bot = await world.bot(limit=1_000)
    process, records = world.process(), {}
    assert await code(process, bot.plain) == "admitted"
    records = dict(world.cache.records)
    update = world.store.update_key

    async def slow(public_id: str, change: object) -> object:
        world.clock.forward(3.5)
        assert await code(process, bot.plain) == "admitted"
        return await update(public_id, change)  # type: ignore[arg-type]

    with patch.object(world.store, "update_key", slow):
        await world.licenses.revoke_key(bot.key.public_id)
    world.cache.records = records
    world.clock.forward(FIVE_S)
    assert await code(process, bot.plain) == "key_revoked"


async def test_other_keys_are_not_read_again_and_an_ended_one_once(world: World) -> None:
    bot, other = await world.bot(limit=1_000), await world.bot(limit=1_000)
    process = world.process()
    for key in (bot, other):
        await code(process, key.plain)
    await missed(world, bot.plain, bot.key.public_id)
    reads = world.store.reads
    for _ in range(20):
        await code(process, other.plain)
        await code(process, bot.plain)
        await settle()
        world.clock.forward(1)
    # One read by the revocation's own path is counted before; each refused request trusts what it knows.
    assert world.store.reads == reads + 1


async def test_a_suspension_that_ends_is_admitted_again(world: World) -> None:
    bot = await world.bot(limit=1_000)
    process = world.process()
    await code(process, bot.plain)
    await world.licenses.suspend_license(bot.key.license_id)
    world.clock.forward(FIVE_S)
    assert await code(process, bot.plain) == "license_suspended"
    await world.licenses.resume_license(bot.key.license_id)
    assert await code(process, bot.plain) == "admitted"
    world.clock.forward(ENFORCED_FOR.total_seconds() + 5)
    assert await code(process, bot.plain) == "admitted"
    known = process._grants._known[bot.key.key_hash]
    assert known.good_until > world.clock(), "it is judged by one comparison again"


async def test_what_may_have_ended_is_refused_while_nobody_can_be_asked(world: World) -> None:
    bot, other = await world.bot(limit=1_000), await world.bot(limit=1_000)
    process = world.process()
    for key in (bot, other):
        await code(process, key.plain)
    await missed(world, bot.plain, bot.key.public_id)
    world.clock.forward(FIVE_S)
    # The list is read, and then the store goes away before the key is.
    await process._endings.catch_up(world.clock())
    world.store.away = True
    assert await code(process, bot.plain) == "key_store_unavailable"
    assert await code(process, other.plain) == "admitted"
    world.cache.away = True
    assert await code(process, bot.plain) == "key_store_unavailable"
    assert await code(process, other.plain) == "admitted"


async def test_a_busy_process_reads_in_the_background_and_no_request_waits(world: World) -> None:
    bot = await world.bot(limit=1_000)
    process = world.process()
    await code(process, bot.plain)
    asked, hold = [], asyncio.Event()
    read = world.store.endings

    async def slow(*arguments: object) -> object:
        asked.append(world.clock())
        await hold.wait()
        return await read(*arguments)  # type: ignore[arg-type]

    with patch.object(world.store, "endings", slow):
        for _ in range(29):
            world.clock.forward(0.1)
            async with asyncio.timeout(1):
                assert await code(process, bot.plain) == "admitted"
            await settle()
        assert len(asked) == 1, "one read at a time"
        hold.set()
        await settle()
        for _ in range(40):
            world.clock.forward(0.1)
            await code(process, bot.plain)
            await settle()
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(asked)]
    assert gaps
    assert all(gap >= ending_watch.READ_EVERY.total_seconds() - 0.01 for gap in gaps)


async def test_a_list_that_cannot_be_read_delays_requests_once_and_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bot = await world.bot(limit=1_000)
    process = world.process()
    await code(process, bot.plain)
    world.store.away = True
    for _ in range(10):
        world.clock.forward(4)
        assert await code(process, bot.plain) == "admitted"
        await settle()
    told = [record for record in caplog.records if "recent endings" in record.getMessage()]
    assert len(told) == 1


def test_the_sum_of_the_waits_is_below_what_is_promised() -> None:
    from shared.services import grants

    # A request trusts a list that was read TRUSTED_FOR ago, or a record of KNOWN_FOR, not one on the other.
    assert timedelta(seconds=5) > ending_watch.TRUSTED_FOR
    assert timedelta(seconds=5) > grants.KNOWN_FOR
    # A record in Redis may be 60 s old, and be stored 20 s after it was read.
    assert timedelta(seconds=60) + grants.MAX_LOAD < ENFORCED_FOR


async def test_a_later_revision_that_a_process_knows_beats_a_record_that_redis_keeps(world: World) -> None:
    bot = await world.bot(limit=1_000)
    process = world.process()
    await code(process, bot.plain)
    await missed(world, bot.plain, bot.key.public_id)
    world.cache.forgetful = True  # Redis refuses writes, as it does when it is full
    world.clock.forward(FIVE_S)
    assert [await code(process, bot.plain) for _ in range(3)] == ["key_revoked"] * 3
