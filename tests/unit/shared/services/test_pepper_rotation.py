"""A new pepper beside the old one: no key is refused, each moves once, a revocation holds everywhere."""

from datetime import timedelta

import pytest

from shared.domain.access.keys import hash_key, new_key
from shared.domain.access.plans import Overrides
from shared.errors import KeyStoreUnavailable, SignalCloudError, Unavailable
from shared.services.access import AccessService
from shared.services.enforcement import Enforcement
from shared.services.key_making import CreatedKey
from shared.services.licenses import LicenseService
from tests.support.access_fakes import Clock, FakeAudit, FakeCache, FakeHub, FakeKeyStore
from tests.support.license_plans import PLANS
from tests.support.memory_licenses import unlisted
from tests.support.memory_sessions import MemorySessions
from tests.support.memory_stores import MemoryStores
from tests.support.served import served_symbols

OLD, NEW = b"o" * 32, b"n" * 32


class Fleet:
    """Processes from before, during and after a rotation, over one store and one cache."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cache = FakeCache(self.clock)
        self.store = FakeKeyStore()
        self.before = self.process(OLD)
        self.during = self.process(NEW, OLD)
        self.after = self.process(NEW)

    def process(self, pepper: bytes, previous: bytes | None = None) -> AccessService:
        return AccessService(
            plans=PLANS,
            pepper=pepper,
            cache=self.cache,
            keys=self.store,
            now=self.clock,
            previous_pepper=previous,
        )

    def licenses(self, pepper: bytes) -> LicenseService:
        return LicenseService(
            plans=PLANS,
            store=self.store,
            enforcement=Enforcement(self.cache, FakeHub(), MemorySessions(), PLANS),
            served=served_symbols(MemoryStores(self.clock())),
            audit=FakeAudit(),
            listed=unlisted,
            actor="tester",
            pepper=pepper,
            now=self.clock,
        )

    async def old_key(self) -> CreatedKey:
        service = self.licenses(OLD)
        license_ = await service.create_license(
            "acct-1", overrides=Overrides(symbols=("ES",), requests_per_minute=100)
        )
        return await service.create_key(license_.license_id)

    def forget(self) -> None:
        """The cached records run out, and no process remembers that a key is unknown."""
        self.cache.records.clear()
        self.clock.forward(61)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


async def admitted(process: AccessService, key: str) -> bool:
    try:
        await process.admit(f"Bearer {key}", "bot")
    except SignalCloudError as error:
        assert error.code in ("key_unknown", "key_revoked")
        return False
    return True


async def test_a_key_moves_to_the_new_pepper_when_it_is_used(fleet: Fleet) -> None:
    key = await fleet.old_key()
    assert await admitted(fleet.during, key.plain)
    stored = fleet.store.keys[key.key.public_id]
    assert stored.key_hash == hash_key(key.plain, NEW)
    assert stored.previous_hash == hash_key(key.plain, OLD)
    assert stored.hashed_at == fleet.clock()
    fleet.forget()
    assert await admitted(fleet.after, key.plain)


async def test_it_moves_once(fleet: Fleet) -> None:
    key = await fleet.old_key()
    for _ in range(3):
        assert await admitted(fleet.during, key.plain)
        fleet.forget()
    assert fleet.store.keys[key.key.public_id].revision == key.key.revision + 1


async def test_processes_that_have_the_old_pepper_still_know_a_key_that_moved(fleet: Fleet) -> None:
    key = await fleet.old_key()
    assert await admitted(fleet.before, key.plain)
    assert await admitted(fleet.during, key.plain)
    fleet.forget()
    assert await admitted(fleet.before, key.plain)
    assert fleet.store.keys[key.key.public_id].key_hash == hash_key(key.plain, NEW)


@pytest.mark.parametrize("moved", [False, True])
async def test_a_revocation_holds_at_once_under_either_pepper(fleet: Fleet, moved: bool) -> None:
    key = await fleet.old_key()
    assert await admitted(fleet.before, key.plain)
    if moved:
        assert await admitted(fleet.during, key.plain)
    await fleet.licenses(NEW).revoke_key(key.key.public_id)
    assert not await admitted(fleet.before, key.plain)
    assert not await admitted(fleet.during, key.plain)


async def test_a_new_key_is_hashed_under_the_new_pepper_alone(fleet: Fleet) -> None:
    old = await fleet.old_key()
    new = await fleet.licenses(NEW).create_key(old.key.license_id)
    assert await admitted(fleet.during, new.plain)
    assert fleet.store.keys[new.key.public_id] == new.key
    assert new.key.previous_hash is None


async def test_after_the_overlap_a_key_that_did_not_move_is_unknown(fleet: Fleet) -> None:
    assert not await admitted(fleet.after, (await fleet.old_key()).plain)


async def test_another_secret_under_a_known_public_id_moves_nothing(fleet: Fleet) -> None:
    key = await fleet.old_key()
    assert not await admitted(fleet.during, new_key(key.key.public_id))
    assert fleet.store.keys[key.key.public_id] == key.key


async def test_a_key_that_cannot_be_stored_anew_is_worth_a_retry_and_not_cached(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await fleet.old_key()

    async def away(*_: object) -> None:
        raise KeyStoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(fleet.store, "update_key", away)
        with pytest.raises(Unavailable):
            await fleet.during.admit(f"Bearer {key.plain}", "bot")
    assert fleet.cache.records == {}
    assert await admitted(fleet.during, key.plain)


async def test_two_processes_move_one_key_together(fleet: Fleet) -> None:
    """The second finds the new hash there when it writes, and leaves it."""
    key = await fleet.old_key()
    read = fleet.store.get_key

    async def late_read(public_id: str) -> object:
        stored = await read(public_id)
        if stored is not None and stored.previous_hash is None:
            fleet.store.get_key = read  # type: ignore[method-assign]
            assert await admitted(fleet.process(NEW, OLD), key.plain)
        return stored

    fleet.store.get_key = late_read  # type: ignore[assignment, method-assign]
    assert await admitted(fleet.during, key.plain)
    stored = fleet.store.keys[key.key.public_id]
    assert (stored.previous_hash, stored.revision) == (hash_key(key.plain, OLD), key.key.revision + 1)


async def test_who_has_not_moved_yet_can_be_listed(fleet: Fleet) -> None:
    used, unused, gone = [await fleet.old_key() for _ in range(3)]
    await fleet.licenses(OLD).revoke_key(gone.key.public_id)
    fleet.clock.forward(10)
    rotated_at = fleet.clock()
    fleet.clock.forward(10)
    assert await admitted(fleet.during, used.plain)
    later = await fleet.licenses(NEW).create_key(used.key.license_id)
    listed = await fleet.licenses(NEW).keys_hashed_before(rotated_at)
    assert [key.public_id for key in listed] == [unused.key.public_id]
    everything = await fleet.licenses(NEW).keys_hashed_before(fleet.clock() + timedelta(seconds=1))
    assert {key.public_id for key in everything} == {each.key.public_id for each in (used, unused, later)}
