"""What stops the timer of payments, what it parks, and that a crash anywhere doubles nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.domain.access.licenses import License, license_id_of
from shared.errors import Conflict, DatabaseUnavailable, KeyStoreUnavailable
from shared.services.payments import MAX_TRIES, MAX_TRIES_UNLINKED
from tests.support.access_fakes import FakeKeyStore
from tests.support.memory_payments import MemoryPayments, MemoryTurn
from tests.support.payment_histories import Customer
from tests.support.payment_world import PaymentWorld


@pytest.fixture
def world() -> PaymentWorld:
    return PaymentWorld()


async def test_an_outage_delays_and_loses_nothing(world: PaymentWorld) -> None:
    customer = Customer("stripe")
    world.keys.away = True
    with pytest.raises(KeyStoreUnavailable):
        await world.deliver(*customer.events)
    assert world.states == {"received"}
    assert [row.tries for row in world.inbox.rows.values()].count(1) == 1
    world.keys.away = False
    world.clock.forward(5)
    await world.service.run()
    assert world.license_of(customer).status == "active"
    assert world.states == {"applied"}


async def test_an_outage_that_lasts_parks_at_last(world: PaymentWorld) -> None:
    world.keys.away = True
    customer = Customer("stripe")
    paid = next(each for each in customer.events if each.kind == "paid")
    for _ in range(MAX_TRIES):
        with pytest.raises(KeyStoreUnavailable):
            await world.deliver(paid)
        world.clock.forward(3_600)
    await world.service.run()
    assert world.states == {"failed"}


async def test_a_fault_of_ours_is_logged_and_does_not_stop_the_others(
    world: PaymentWorld, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def get_license(self, license_id: str) -> License | None:
            if license_id == license_id_of(first.subject):
                raise RuntimeError("a defect")
            return await world.keys.get_license(license_id)

    first, second = Customer("stripe", 1), Customer("whop", 2)
    world.service = world.made_service(reader=Broken())
    await world.deliver(*first.events, *second.events)
    assert world.license_of(second).status == "active"
    assert "a fault of ours: RuntimeError" in world.inbox.rows[1].outcome
    assert "a defect" in caplog.text


async def test_a_crash_anywhere_doubles_nothing(world: PaymentWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dies after each change of Table Storage in turn, and before the mark in the inbox."""

    class Dies(BaseException):
        pass

    customer = Customer("stripe")
    for place in ("add_license", "update_license", "settle"):
        died = False
        target = MemoryTurn if place == "settle" else FakeKeyStore
        real = getattr(target, place)

        async def dying(*args: Any, real: Any = real, place: str = place, **kwargs: Any) -> Any:
            nonlocal died
            if place != "settle":
                await real(*args, **kwargs)
            died = True
            raise Dies

        monkeypatch.setattr(target, place, dying)
        with pytest.raises(Dies):
            await world.deliver(*customer.events)
        assert died
        monkeypatch.setattr(target, place, real)
        assert world.states == {"received"}
    await world.service.run()
    assert len(world.keys.licenses) == 1
    assert world.license_of(customer).paid_plan == "starter"
    assert world.states == {"applied"}


async def test_a_subscription_with_too_many_events_is_parked(world: PaymentWorld) -> None:
    class Crowded(MemoryPayments):
        @asynccontextmanager
        async def turn(self, payment_event_id: int) -> AsyncIterator[MemoryTurn]:
            async with super().turn(payment_event_id) as turn:
                turn.events = list(turn.events) * 5_001
                yield turn

    world.inbox = Crowded(world.server)
    world.service = world.made_service()
    await world.deliver(Customer("stripe").events[0])
    assert world.states == {"failed"}


async def test_a_database_that_is_away_ends_the_run(world: PaymentWorld) -> None:
    world.server.away = True
    with pytest.raises(DatabaseUnavailable):
        await world.service.run()


async def test_a_conflict_of_the_license_is_shown(world: PaymentWorld) -> None:
    class Refusing:
        async def create_license(self, *args: object, **kwargs: object) -> License:
            raise Conflict("The reference has a license with another plan.")

    world.service = world.made_service(licenses=Refusing())
    await world.deliver(*Customer("stripe").events)
    assert "another plan" in next(row for row in world.inbox.rows.values() if row.state == "failed").outcome


async def test_a_refund_of_no_subscription_is_parked_after_some_minutes(world: PaymentWorld) -> None:
    customer = Customer("stripe")
    customer.do("refund")
    await world.deliver(next(each for each in customer.events if each.kind == "refunded"))
    for _ in range(MAX_TRIES_UNLINKED):
        world.clock.forward(3_600)
        await world.service.run()
    row = world.inbox.rows[1]
    assert (row.state, row.tries) == ("failed", MAX_TRIES_UNLINKED)
    assert "invoice_payment.paid" in row.outcome
