"""Who is admitted, and how each request is refused."""

from collections.abc import Sequence
from datetime import timedelta
from unittest.mock import patch

import msgspec
import pytest

from shared.domain.access.admission import encode_record
from shared.domain.access.keys import new_key
from shared.domain.access.licenses import ApiKey, revoked_key
from shared.domain.access.rate_limit import REFUSED
from shared.domain.confidence.answers import CacheResult, ModelOutput
from shared.errors import RateLimited, SignalCloudError
from shared.services import access
from shared.services.access import Admitted
from tests.support.access_world import World


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
    assert error.quota is not None
    assert error.quota[:2] == (3, 0)
    assert error.quota[2] == pytest.approx(30)
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


async def test_a_record_of_a_clock_ahead_of_ours_lets_in_uncounted(world: World) -> None:
    bot = await world.bot()
    grant = (await world.admit(bot.plain)).grant
    world.cache.records[bot.key.key_hash] = (grant.revision, REFUSED, encode_record(grant, REFUSED))
    assert (await world.admit(bot.plain)).rate is None
    assert world.unlimited == [1]


async def test_a_suspension_ends_when_resumed(world: World) -> None:
    bot = await world.bot()
    await world.licenses.suspend_license(bot.key.license_id)
    assert (await world.refusal(bot.plain)).code == "license_suspended"
    await world.licenses.resume_license(bot.key.license_id)
    await world.admit(bot.plain)


async def test_without_redis_the_limiter_opens_and_is_counted(world: World) -> None:
    bot = await world.bot(limit=1)
    await world.admit(bot.plain)
    world.cache.away = True
    for _ in range(5):
        assert (await world.admit(bot.plain)).rate is None
    assert len(world.unlimited) == 5
    assert (await world.refusal(bot.plain, "ops")).code == "scope_missing"
    assert len(world.unlimited) == 5


async def test_a_cache_that_keeps_nothing_does_not_stop_anybody(world: World) -> None:
    bot = await world.bot()
    world.cache.forgetful = True
    assert (await world.admit(bot.plain)).rate is None


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


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "sc_live"])
async def test_a_good_key_under_another_scheme_is_refused(world: World, scheme: str) -> None:
    bot = await world.bot()
    with pytest.raises(SignalCloudError) as refused:
        await world.access.admit(f"{scheme} {bot.plain}", "bot")
    assert refused.value.code == "key_malformed"
    assert refused.value.detail == "The Authorization header must begin with Bearer."


async def test_a_process_trusts_a_key_that_it_has_admitted_until_it_refuses_it(world: World) -> None:
    bot = await world.bot()
    header = f"Bearer {bot.plain}"
    assert not world.access.trusts(header)
    assert await world.access.meet(header, "bot") is None
    assert not world.access.trusts(header)
    assert world.cache.admits == 0, "a look-up does not count against the limit"
    admitted = await world.access.admit(header, "bot", confidence_key="confidence:x")
    assert admitted.rate is not None
    assert admitted.rate.remaining == 2
    assert world.access.trusts(header)
    assert await world.access.meet(header, "bot") is None
    with pytest.raises(SignalCloudError, match="the scope feeder"):
        await world.access.admit(header, "feeder")
    assert not world.access.trusts(header)


async def test_the_look_up_asks_the_cache_before_the_key_store(world: World) -> None:
    bot = await world.bot()
    await world.admit(bot.plain)
    reads = world.store.reads
    other = world.process()
    assert await other.meet(f"Bearer {bot.plain}", "bot") is None
    assert world.store.reads == reads
    world.cache.away = True
    third = world.process()
    assert await third.meet(f"Bearer {bot.plain}", "bot") is None
    assert world.store.reads == reads + 1


async def test_what_is_no_key_and_a_key_found_unknown_are_refused_without_a_question(world: World) -> None:
    invented = f"Bearer {new_key('Ab12Cd')}"
    for header, code in ((None, "key_missing"), ("Bearer sc_live_nothing", "key_malformed")):
        with pytest.raises(SignalCloudError) as refused:
            world.access.trusts(header)
        assert refused.value.code == code
    assert not world.access.trusts(invented)
    with pytest.raises(SignalCloudError, match="never issued"):
        await world.access.meet(invented, "bot")
    reads = world.store.reads
    with pytest.raises(SignalCloudError, match="never issued"):
        world.access.trusts(invented)
    assert world.store.reads == reads


async def test_a_key_that_was_refused_is_admitted_at_once_when_its_license_is_resumed(world: World) -> None:
    bot = await world.bot()
    header = f"Bearer {bot.plain}"
    await world.licenses.suspend_license(bot.key.license_id)
    with pytest.raises(SignalCloudError, match="suspended"):
        await world.access.meet(header, "bot")
    assert not world.access.trusts(header)
    await world.licenses.resume_license(bot.key.license_id)
    admitted = await world.access.meet(header, "bot")
    assert admitted is not None
    assert admitted.rate is not None
    assert admitted.rate.remaining == 2
    assert world.access.trusts(header)
