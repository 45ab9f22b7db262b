"""Processes count use in memory and store what there is to tell."""

from datetime import date
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from shared.domain.access.misuse import MAX_ADDRESSES, THRESHOLDS
from shared.services import misuse_counts
from shared.services.misuse import MisuseService
from shared.services.misuse_counts import LOOKED_AT_EVERY, MisuseCounts, UseCounts
from tests.support.access_fakes import Clock
from tests.support.grants import grant_of
from tests.support.memory_misuse import MemoryMisuse

GRANT = grant_of("acct-1", "ES")
DAY = date(2026, 3, 2)


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.away = False
        self.store = MemoryMisuse(is_away=lambda: self.away)
        self.counts = MisuseCounts(store=lambda: self.store, secret=b"s" * 32, now=self.clock)
        self.looks = 0

    def ask(self, address: str, grant: Any = GRANT) -> None:
        """One admitted request from an address, as Call.admit notes it."""
        if self.counts.is_unseen(grant, address):
            self.looks += 1
            self.counts.note_address(grant, address, ip_address(address))

    @property
    def of_today(self) -> UseCounts:
        return self.store.days["acct-1", self.clock().date()]


@pytest.fixture
def world() -> World:
    return World()


async def test_requests_of_one_address_are_looked_at_now_and_then(world: World) -> None:
    for _ in range(10 * LOOKED_AT_EVERY):
        world.ask("203.0.113.7")
    assert world.looks == 10
    await world.counts.flush()
    assert world.of_today.requests == 10 * LOOKED_AT_EVERY
    assert len(world.store.addresses) == 1


async def test_a_quiet_account_is_stored_once_a_day_and_its_requests_are_not_lost(world: World) -> None:
    world.ask("203.0.113.7")
    await world.counts.flush()
    world.store.days.clear()
    for _ in range(1_000):
        world.ask("203.0.113.7")
    await world.counts.flush()
    assert world.store.days == {}
    world.counts.limited(GRANT)
    await world.counts.flush()
    assert (world.of_today.requests, world.of_today.limited) == (1_000, 1)


async def test_each_address_of_a_key_counts_once_a_day(world: World) -> None:
    for _ in range(3):
        for host in range(5):
            world.ask(f"203.0.113.{host}")
    await world.counts.flush()
    assert len(world.store.addresses) == 5
    world.clock.forward(24 * 3600)
    for host in range(2):
        world.ask(f"203.0.113.{host}")
    await world.counts.flush()
    assert len(world.store.addresses) == 7
    assert world.of_today.requests == 2


async def test_an_address_that_stays_is_seen_on_the_next_day_too(world: World) -> None:
    world.ask("203.0.113.7")
    world.clock.forward(24 * 3600)
    for _ in range(LOOKED_AT_EVERY + 1):
        world.ask("203.0.113.7")
    await world.counts.flush()
    assert {seen.day for seen in world.store.addresses} == {DAY, date(2026, 3, 3)}


async def test_addresses_are_bounded_and_hashed(world: World) -> None:
    for number in range(2 * MAX_ADDRESSES):
        world.ask(f"203.0.{number // 256}.{number % 256}")
    await world.counts.flush()
    assert len(world.store.addresses) == MAX_ADDRESSES
    assert all(b"203" not in seen.address for seen in world.store.addresses)


async def test_hours_with_refusals_are_kept_as_bits(world: World) -> None:
    for hours in (0, 0, 3):
        world.clock.forward(hours * 3600)
        world.counts.limited(GRANT)
    await world.counts.flush()
    assert world.of_today.limited == 3
    assert world.of_today.limited_hours == 1 << 14 | 1 << 17


async def test_what_cannot_be_stored_waits_for_the_next_time(world: World) -> None:
    world.ask("203.0.113.7")
    world.counts.fought("acct-1", "refused")
    world.away = True
    await world.counts.flush()
    world.counts.fought("acct-1", "taken_over")
    world.counts.limited(GRANT)
    world.away = False
    await world.counts.flush()
    assert world.of_today == UseCounts(
        requests=1, limited=1, limited_hours=1 << 14, sessions_refused=1, sessions_taken_over=1
    )
    assert len(world.store.addresses) == 1


async def test_a_flush_follows_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misuse_counts, "FLUSH_AFTER_S", 0.0)
    world.counts.fought("acct-1", "replaced")
    flushing = world.counts._flushing
    assert flushing is not None
    await flushing
    assert world.of_today.sessions_replaced == 1
    assert world.counts._flushing is None


async def test_without_an_address_requests_are_counted_all_the_same(world: World) -> None:
    assert world.counts.is_unseen(GRANT, None)
    world.counts.note_address(GRANT, None, None)
    assert not world.counts.is_unseen(GRANT, None)
    world.counts.limited(GRANT)
    await world.counts.flush()
    assert world.of_today.requests == 2


async def test_the_list_names_what_stands_out(world: World) -> None:
    other = msgspec.structs.replace(GRANT, license=msgspec.structs.replace(GRANT.license, account_id="b"))
    for host in range(THRESHOLDS.addresses_per_key):
        world.ask(f"203.0.113.{host}")
    world.counts.limited(other)
    for _ in range(THRESHOLDS.session_fights):
        world.counts.fought("acct-1", "refused")
    await world.counts.flush()
    misuse = await MisuseService(world.store, world.clock).list(7, 10)
    assert misuse.since == date(2026, 2, 24)
    assert misuse.thresholds == THRESHOLDS
    assert [(each.account_id, each.stands_out) for each in misuse.accounts] == [
        ("acct-1", ["addresses_per_key", "session_fights"]),
        ("b", ["limited_percent"]),
    ]
