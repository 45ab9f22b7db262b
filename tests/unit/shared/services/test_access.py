import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from unittest.mock import patch

import msgspec
import pytest

from shared.domain.access.admission import encode_record
from shared.domain.access.keys import hash_key, new_key
from shared.domain.access.licenses import ApiKey, Grant, Scope, revoked_key
from shared.domain.confidence.answers import CacheResult, ModelOutput
from shared.errors import RateLimited, SignalCloudError, Unavailable
from shared.services import access, grants
from shared.services.access import AccessService, Admitted
from shared.services.grants import refresh_below_ms
from shared.services.licenses import CreatedKey, LicenseService
from tests.support.access_fakes import Clock, FakeAudit, FakeCache, FakeHub, FakeKeyStore

PEPPER = b"p" * 32


class World:
    """One process's access service over fakes, and a license of 3 requests a minute with a bot key."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cache = FakeCache(self.clock)
        self.unlimited: list[int] = []
        self.store = FakeKeyStore()
        self.audit = FakeAudit()
        self.licenses = LicenseService(
            store=self.store,
            cache=self.cache,
            connections=FakeHub(),
            audit=self.audit,
            actor="tester",
            pepper=PEPPER,
            now=self.clock,
        )
        self.access = self.process()

    def process(self) -> AccessService:
        return AccessService(
            pepper=PEPPER,
            cache=self.cache,
            keys=self.store,
            now=self.clock,
            unlimited=lambda: self.unlimited.append(1),
        )

    async def bot(self, limit: int = 3, expires_in_s: float | None = None) -> CreatedKey:
        expires_at = None if expires_in_s is None else self.clock() + timedelta(seconds=expires_in_s)
        license_ = await self.licenses.create_license(
            "acct-1", symbols=["ES"], requests_per_minute=limit, expires_at=expires_at
        )
        return await self.licenses.create_key(license_.license_id)

    async def admit(self, key: str, scope: Scope = "bot", **options: str) -> Admitted:
        return await self.access.admit(f"Bearer {key}", scope, **options)

    async def refusal(self, key: str, scope: Scope = "bot", **options: str) -> SignalCloudError:
        with pytest.raises(SignalCloudError) as refused:
            await self.admit(key, scope, **options)
        return refused.value


@pytest.fixture
def world() -> World:
    return World()


async def test_a_good_key_is_admitted_with_its_quota(world: World) -> None:
    bot = await world.bot()
    admitted = await world.admit(bot.plain)
    assert admitted.grant.key == bot.key
    assert admitted.grant.license.account_id == "acct-1"
    assert admitted.rate is not None
    assert (admitted.rate.limit, admitted.rate.remaining) == (3, 2)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "key_missing"),
        ("", "key_missing"),
        ("Basic dXNlcjpwYXNz", "key_malformed"),
        ("Bearer", "key_malformed"),
        ("Bearer ", "key_malformed"),
        ("Bearer sc_live_nothing", "key_malformed"),
        ("Bearer " + "x" * 100_000, "key_malformed"),
        # As far as it is looked at, a key; each such header was remembered, whole.
        pytest.param("Bearer " + new_key("Ab12Cd") + " " * 200 + "x", "key_malformed", id="long tail"),
        pytest.param("Bearer " + new_key("Ab12Cd"), "key_unknown", id="never issued"),
    ],
)
async def test_what_is_no_issued_key_is_refused(world: World, header: str | None, code: str) -> None:
    with pytest.raises(SignalCloudError) as refused:
        await world.access.admit(header, "bot")
    assert refused.value.code == code


async def test_the_scheme_may_be_written_in_any_case(world: World) -> None:
    bot = await world.bot()
    assert (await world.access.admit(f"bearer  {bot.plain}", "bot")).grant.key == bot.key


async def test_another_secret_under_a_known_public_id_is_unknown(world: World) -> None:
    bot = await world.bot()
    assert (await world.refusal(new_key(bot.key.public_id))).code == "key_unknown"


async def test_the_limit_refuses_and_says_when_to_come_again(world: World) -> None:
    bot = await world.bot(limit=3)
    for _ in range(3):
        await world.admit(bot.plain)
        world.clock.forward(10)
    error = await world.refusal(bot.plain)
    assert isinstance(error, RateLimited)
    assert error.limit == 3
    assert error.reset_s == pytest.approx(30)
    assert error.retry_after_s == pytest.approx(30)
    world.clock.forward(30.001)
    await world.admit(bot.plain)


async def test_the_order_of_refusals(world: World) -> None:
    bot = await world.bot(limit=1, expires_in_s=100)
    license_id = bot.key.license_id
    await world.admit(bot.plain)
    assert (await world.refusal(bot.plain)).code == "rate_limited"
    assert (await world.refusal(bot.plain, "ops")).code == "scope_missing"
    await world.licenses.suspend_license(license_id)
    assert (await world.refusal(bot.plain, "ops")).code == "license_suspended"
    await world.licenses.revoke_license(license_id)
    assert (await world.refusal(bot.plain, "ops")).code == "license_revoked"
    world.clock.forward(101)
    assert (await world.refusal(bot.plain, "ops")).code == "license_revoked"
    await world.licenses.revoke_key(bot.key.public_id)
    assert (await world.refusal(bot.plain, "ops")).code == "key_revoked"


async def test_licenses_and_keys_end_at_their_time(world: World) -> None:
    bot = await world.bot(expires_in_s=50)
    short = await world.licenses.create_key(
        bot.key.license_id, expires_at=world.clock() + timedelta(seconds=20)
    )
    await world.admit(bot.plain)
    await world.admit(short.plain)
    world.clock.forward(20)
    assert (await world.refusal(short.plain)).code == "key_expired"
    await world.admit(bot.plain)
    world.clock.forward(30)
    assert (await world.refusal(bot.plain)).code == "license_expired"


async def test_a_revocation_holds_at_once_in_every_process(world: World) -> None:
    bot = await world.bot()
    other = world.process()
    await world.admit(bot.plain)
    await other.admit(f"Bearer {bot.plain}", "bot")
    await world.licenses.revoke_key(bot.key.public_id)
    assert (await world.refusal(bot.plain)).code == "key_revoked"
    with pytest.raises(SignalCloudError) as refused:
        await other.admit(f"Bearer {bot.plain}", "bot")
    assert refused.value.code == "key_revoked"


async def test_a_grant_of_the_same_revision_that_allows_nothing_is_not_taken_for_the_known_one(
    world: World,
) -> None:
    """Two changes that cross each other may leave two grants of one revision."""
    bot = await world.bot()
    known = (await world.admit(bot.plain)).grant
    license_ = msgspec.structs.replace(known.license, revision=known.license.revision - 1)
    crossed = msgspec.structs.replace(known, license=license_, key=revoked_key(known.key))
    assert crossed.revision == known.revision
    await world.cache.store_grant(bot.key.key_hash, crossed)
    assert (await world.refusal(bot.plain)).code == "key_revoked"


async def test_a_rotation_does_not_undo_in_the_caches_what_changes_meanwhile(world: World) -> None:
    bot = await world.bot()
    add_keys = world.store.add_keys

    async def suspended_meanwhile(keys: Sequence[ApiKey]) -> None:
        await add_keys(keys)
        await world.licenses.suspend_license(bot.key.license_id)

    with patch.object(world.store, "add_keys", suspended_meanwhile):
        await world.licenses.rotate_key(bot.key.public_id, timedelta(hours=1))
    assert (await world.refusal(bot.plain)).code == "license_suspended"


async def test_use_keeps_a_grant_fresh_for_an_outage(world: World) -> None:
    bot = await world.bot(limit=10)
    await world.admit(bot.plain)
    world.clock.forward(grants.STALE_FOR.total_seconds() - 10)
    await world.admit(bot.plain)
    world.clock.forward(grants.STALE_FOR.total_seconds() - 10)
    world.cache.away = world.store.away = True
    assert (await world.admit(bot.plain)).rate is None


async def test_a_record_of_a_clock_ahead_of_ours_lets_in_uncounted(world: World) -> None:
    bot = await world.bot()
    grant = (await world.admit(bot.plain)).grant
    world.cache.records[bot.key.key_hash] = (grant.revision, 0, encode_record(grant, 0))
    assert (await world.admit(bot.plain)).rate is None
    assert world.unlimited == [1]


async def test_a_suspension_ends_when_resumed(world: World) -> None:
    bot = await world.bot()
    await world.licenses.suspend_license(bot.key.license_id)
    assert (await world.refusal(bot.plain)).code == "license_suspended"
    await world.licenses.resume_license(bot.key.license_id)
    await world.admit(bot.plain)


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


async def test_without_redis_the_limiter_opens_and_is_counted(world: World) -> None:
    bot = await world.bot(limit=1)
    await world.admit(bot.plain)
    world.cache.away = True
    for _ in range(5):
        assert (await world.admit(bot.plain)).rate is None
    assert len(world.unlimited) == 5
    assert (await world.refusal(bot.plain, "ops")).code == "scope_missing"
    assert len(world.unlimited) == 5


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


async def test_a_cache_that_keeps_nothing_does_not_stop_anybody(world: World) -> None:
    bot = await world.bot()
    world.cache.forgetful = True
    assert (await world.admit(bot.plain)).rate is None


async def test_a_slow_reader_of_the_key_store_does_not_undo_a_revocation(world: World) -> None:
    bot = await world.bot()
    before = (world.store.licenses[bot.key.license_id], world.store.keys[bot.key.public_id])
    await world.licenses.revoke_key(bot.key.public_id)
    await world.cache.store_grant(bot.key.key_hash, Grant(license=before[0], key=before[1]))
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


async def test_a_confidence_miss_leads_once_and_a_hit_comes_along(world: World) -> None:
    bot = await world.bot(limit=10)
    first = await world.admit(bot.plain, confidence_key="confidence:{a}:m")
    second = await world.admit(bot.plain, confidence_key="confidence:{a}:m")
    assert first.cache_result is not None
    assert second.cache_result is not None
    assert first.cache_result.lock_token is not None
    assert second.cache_result.lock_token is None
    output = world.cache.confidences["confidence:{a}:m"] = ModelOutput(0.5, "model", "m")
    third = await world.admit(bot.plain, confidence_key="confidence:{a}:m")
    assert third.cache_result == CacheResult("confidence:{a}:m", output, 7)


async def test_a_refused_request_keeps_no_lock(world: World) -> None:
    bot = await world.bot(limit=10)
    error = await world.refusal(bot.plain, "publisher", confidence_key="confidence:{a}:m")
    assert error.code == "scope_missing"
    assert world.cache.locks == {}


async def test_a_lock_can_be_given_back_unused(world: World) -> None:
    bot = await world.bot(limit=10)
    admitted = await world.admit(bot.plain, confidence_key="confidence:{a}:m")
    assert world.cache.locks
    await world.access.release(admitted)
    assert world.cache.locks == {}
    world.cache.away = True
    await world.access.release(admitted)


async def test_a_license_record_is_decoded_anew_when_it_changes(world: World) -> None:
    bot = await world.bot()
    assert (await world.admit(bot.plain)).grant is (await world.admit(bot.plain)).grant
    await world.licenses.suspend_license(bot.key.license_id)
    await world.licenses.resume_license(bot.key.license_id)
    assert (await world.admit(bot.plain)).grant.license.revision == 3


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


async def test_headers_of_issued_keys_are_parsed_once_within_a_bound(world: World) -> None:
    bots = [await world.bot() for _ in range(4)]
    with patch.object(access, "MAX_PRESENTED", 3):
        for bot in bots:
            await world.admit(bot.plain)
        assert list(world.access._presented) == [f"Bearer {bot.plain}" for bot in bots[1:]]
    with patch.object(access, "parse_key", side_effect=AssertionError("parsed again")):
        await world.admit(bots[-1].plain)
    await world.refusal(new_key("Zz99Zz"))
    assert len(world.access._presented) == 3


async def test_while_the_key_store_is_away_known_keys_ask_it_once_in_a_while(world: World) -> None:
    bot = await world.bot(limit=100)
    await world.admit(bot.plain)
    world.cache.records.clear()
    world.cache.forgetful = world.store.away = True
    with patch.object(world.store, "get_key", wraps=world.store.get_key) as asked:
        for seconds, calls in ((0, 1), (4.9, 1), (0.1, 2), (1.0, 2)):
            world.clock.forward(seconds)
            assert (await world.admit(bot.plain)).rate is None
            assert asked.call_count == calls


async def test_a_lock_that_cannot_be_given_back_ends_by_itself(world: World) -> None:
    admitted = Admitted(
        (await world.admit((await world.bot()).plain)).grant,
        cache_result=CacheResult("confidence:a", lock_token="mine"),
    )
    world.cache.locks["confidence:a"] = "mine"
    world.cache.away = True
    await world.access.release(admitted)
    assert world.cache.locks == {"confidence:a": "mine"}
    world.cache.away = False
    await world.access.release(Admitted(admitted.grant, cache_result=CacheResult("confidence:a")))
    await world.access.release(Admitted(admitted.grant))
    assert world.cache.locks == {"confidence:a": "mine"}
    await world.access.release(admitted)
    assert world.cache.locks == {}


async def test_a_full_waiting_room_says_when_to_come_again(world: World) -> None:
    with (
        patch.object(grants, "STRANGER_WAIT_S", 0.01),
        patch.object(world.access._grants, "_strangers", asyncio.Semaphore(0)),
    ):
        error = await world.refusal(new_key("Zz99Zz"))
    assert (error.code, error.retry_after_s) == ("key_store_unavailable", 1)
    assert error.detail == "Too many keys are being looked up; try again."


def test_what_the_texts_promise() -> None:
    assert (timedelta(seconds=5), timedelta(seconds=60)) == (grants.KNOWN_FOR, grants.STALE_FOR)
    assert (timedelta(seconds=5), 32) == (grants.UNKNOWN_FOR, grants.MAX_STRANGER_LOOKUPS)
    assert refresh_below_ms("0000") == 10_000
    assert refresh_below_ms("ffff") == 40_000
