"""The timer applies payment events to licenses: each crash and outage delays, and nothing doubles."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.access.licenses import License, license_id_of
from shared.domain.notifications.events import Event
from shared.domain.payments.events import PaymentEvent
from shared.errors import Conflict, DatabaseUnavailable, KeyStoreUnavailable
from shared.services.enforcement import Enforcement
from shared.services.licenses import LicenseService
from shared.services.payments import ADDRESS_WAIT, MAX_TRIES, MAX_TRIES_UNLINKED, PaymentService
from tests.support.access_fakes import Clock, FakeAudit, FakeCache, FakeKeyStore
from tests.support.license_plans import PLANS
from tests.support.memory_payments import MemoryPayments, MemoryTurn
from tests.support.memory_signals import Server
from tests.support.payment_histories import EMAIL, PRODUCTS, Customer, delivered, moment


class Hub:
    def __init__(self) -> None:
        self.closed: list[str] = []

    async def close_license(self, license_id: str, reason: str) -> None:
        self.closed.append(license_id)

    async def close_key(self, public_id: str, reason: str) -> None:
        self.closed.append(public_id)


class World:
    """The service over servers in memory, at the time of the customer's first event."""

    def __init__(self, products: dict[str, str] | None = None) -> None:
        self.clock = Clock()
        self.keys = FakeKeyStore()
        self.server = Server(self.clock())
        self.inbox = MemoryPayments(self.server)
        self.audit = FakeAudit()
        self.told: list[Event] = []
        self.counts: dict[str, int] = {}
        self.products = dict(PRODUCTS if products is None else products)
        self.licenses = LicenseService(
            store=self.keys,
            plans=PLANS,
            enforcement=Enforcement(FakeCache(self.clock), Hub(), PLANS),  # type: ignore[arg-type]
            served=None,  # type: ignore[arg-type]  # the symbols of plans are not checked
            audit=self.audit,
            actor="payments",
            pepper=b"p" * 32,
            now=self.clock,
        )
        self.service = self.made_service()

    def made_service(self, **changed: Any) -> PaymentService:
        given: dict[str, Any] = {
            "store": self.inbox,
            "reader": self.keys,
            "licenses": self.licenses,
            "plans": PLANS,
            "products": self.products,
            "tell": self.tell,
            "now": self.clock,
            "count": self.count,
        }
        return PaymentService(**given | changed)

    async def tell(self, events: Sequence[Event]) -> None:
        self.told += events

    def count(self, name: str, count: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + count

    async def deliver(self, *events: PaymentEvent) -> None:
        """Events arrive one after the other, and the timer runs after the last."""
        for event in events:
            self.clock.time = max(self.clock.time, event.at)
            await self.inbox.add(event, self.clock())
        await self.service.run()

    def license_of(self, customer: Customer) -> License:
        return self.keys.licenses[license_id_of(customer.subject)]

    @property
    def states(self) -> set[str]:
        return {row.state for row in self.inbox.rows.values() if row.kind != "ignored"}


@pytest.fixture
def world() -> World:
    return World()


async def test_a_purchase_makes_one_license_and_marks_all_of_its_events(world: World) -> None:
    customer = Customer("stripe")
    await world.deliver(*customer.events)
    license_ = world.license_of(customer)
    assert (license_.plan, license_.email, license_.status) == ("starter", EMAIL, "active")
    assert license_.paid_until == license_.expires_at
    assert world.states == {"applied"}
    first = world.inbox.rows[1]
    assert first.outcome == f"license {license_.license_id} created on plan starter"
    assert (first.license_id, first.account_id) == (license_.license_id, license_.account_id)
    actions = [entry[1] for entry in world.audit.entries]
    assert actions == ["license created", "license changed by payment"]


async def test_events_that_come_again_change_nothing(world: World) -> None:
    customer = Customer("stripe")
    await world.deliver(*customer.events)
    before, entries = world.license_of(customer), len(world.audit.entries)
    for event in customer.events:
        await world.inbox.add(event, world.clock())
    assert await world.service.run() == 0
    for number in world.inbox.rows:
        await world.inbox.run_again(number, world.clock())
    await world.service.run()
    assert world.license_of(customer) == before
    assert len(world.audit.entries) == entries


async def test_a_customer_who_fails_to_pay_is_suspended_and_works_again_once_paid(world: World) -> None:
    customer = Customer("stripe")
    await world.deliver(*customer.events)
    seen = len(customer.happened)
    customer.do("fail")
    await world.deliver(*customer.events[seen:])
    grace = world.license_of(customer).grace_until
    assert grace is not None
    seen = len(customer.happened)
    customer.wait(20 * 86_400)
    customer.do("fail")
    await world.deliver(*customer.events[seen:])
    assert world.license_of(customer).status == "suspended"
    seen = len(customer.happened)
    customer.do("pay")
    await world.deliver(*customer.events[seen:])
    assert world.license_of(customer).status == "active"


async def test_an_unknown_product_is_parked_and_works_after_the_setting_is_mended() -> None:
    world = World({})
    customer = Customer("stripe")
    await world.deliver(*customer.events)
    failed = [row for row in world.inbox.rows.values() if row.state == "failed"]
    assert failed
    assert "PAYMENT_PLANS has no plan for stripe:price_starter" in failed[0].outcome
    assert world.keys.licenses == {}
    assert world.counts["payment_events_failed"] == len(failed)
    world.products["stripe:price_starter"] = "starter"
    await world.inbox.run_again(failed[0].payment_event_id, world.clock())
    await world.service.run()
    assert world.license_of(customer).plan == "starter"
    assert world.states == {"applied"}


async def test_a_plan_that_does_not_exist_is_parked() -> None:
    world = World({"stripe:price_starter": "platinum"})
    await world.deliver(*Customer("stripe").events)
    assert "platinum, which does not exist" in world.inbox.rows[2].outcome


async def test_a_product_that_is_sold_no_more_does_not_keep_a_refunded_license_alive(world: World) -> None:
    customer = Customer("stripe")
    await world.deliver(*customer.events)
    seen = len(customer.happened)
    world.products.clear()
    customer.do("refund")
    await world.deliver(*customer.events[seen:])
    assert world.license_of(customer).status == "revoked"
    seen = len(customer.happened)
    customer.do("renew")
    await world.deliver(*customer.events[seen:])
    assert "failed" in world.states


async def test_a_refund_waits_for_the_events_that_name_its_subscription(world: World) -> None:
    customer = Customer("stripe")
    customer.do("refund")
    refund = next(each for each in customer.events if each.kind == "refunded")
    await world.deliver(refund)
    assert (world.inbox.rows[1].state, world.inbox.rows[1].tries) == ("received", 1)
    await world.deliver(*customer.events)
    assert world.states == {"applied"}
    assert world.keys.licenses == {}  # nobody is told of a license that is over before it is made
    assert "it would be revoked" in world.inbox.rows[1].outcome


async def test_a_refund_of_no_subscription_is_parked_after_some_minutes(world: World) -> None:
    customer = Customer("stripe")
    customer.do("refund")
    await world.deliver(next(each for each in customer.events if each.kind == "refunded"))
    for _ in range(MAX_TRIES_UNLINKED):
        world.clock.forward(3_600)
        await world.service.run()
    row = world.inbox.rows[1]
    assert (row.state, row.tries) == ("failed", MAX_TRIES_UNLINKED)
    assert "invoice_payment.paid" in row.outcome


async def test_a_license_waits_a_moment_for_the_buyers_address(world: World) -> None:
    customer = Customer("stripe")
    nameless = [msgspec.structs.replace(each, email=None) for each in customer.events]
    await world.deliver(*nameless)
    assert world.keys.licenses == {}
    world.clock.forward(ADDRESS_WAIT.total_seconds())
    await world.service.run()
    license_ = world.license_of(customer)
    assert license_.email is None
    late = msgspec.structs.replace(customer.events[-1], event_id="late")
    await world.deliver(late)
    assert world.license_of(customer).email == EMAIL
    (told,) = world.told
    assert (told.kind, told.license_id) == ("claim_requested", license_.license_id)


async def test_an_outage_delays_and_loses_nothing(world: World) -> None:
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


async def test_an_outage_that_lasts_parks_at_last(world: World) -> None:
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
    world: World, caplog: pytest.LogCaptureFixture
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


async def test_a_crash_anywhere_doubles_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_subscription_with_too_many_events_is_parked(world: World) -> None:
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


async def test_a_database_that_is_away_ends_the_run(world: World) -> None:
    world.server.away = True
    with pytest.raises(DatabaseUnavailable):
        await world.service.run()


async def test_two_subscriptions_of_one_customer_share_an_account(world: World) -> None:
    first, second = Customer("stripe", 1), Customer("stripe", 2)
    given = [msgspec.structs.replace(each, customer="cus_1") for each in (*first.events, *second.events)]
    await world.deliver(*given)
    assert {each.account_id for each in world.keys.licenses.values()} == {"stripe-cus_1"}
    assert len(world.keys.licenses) == 2


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_the_order_the_service_ends_where_the_right_order_ends(seed: int) -> None:
    chance = random.Random(seed)
    customer = Customer(chance.choice(("stripe", "whop")), seed)
    for _ in range(6):
        customer.wait(chance.choice((10, 86_400, 10 * 86_400)))
        customer.do(chance.choice(("renew", "renew", "fail", "pay", "upgrade", "cancel", "dispute", "win")))
    arrivals = delivered(customer.happened, chance, 3 * 86_400)
    ends = []
    for order in (customer.happened, arrivals):
        world = World()
        for each in order:
            world.clock.time = moment(each.at)
            await world.inbox.add(each.event, world.clock())
            await world.service.run()
        world.clock.time = moment(max(each.at for each in arrivals)) + timedelta(hours=2)
        for number in world.inbox.rows:
            await world.inbox.run_again(number, world.clock())
        await world.service.run()
        assert world.states == {"applied"}
        license_ = world.license_of(customer)
        ends.append(msgspec.structs.replace(license_, revision=0, created_at=moment(0)))
    assert ends[0] == ends[1]


async def test_a_conflict_of_the_license_is_shown(world: World) -> None:
    class Refusing:
        async def create_license(self, *args: object, **kwargs: object) -> License:
            raise Conflict("The reference has a license with another plan.")

    world.service = world.made_service(licenses=Refusing())
    await world.deliver(*Customer("stripe").events)
    assert "another plan" in next(row for row in world.inbox.rows.values() if row.state == "failed").outcome


async def test_ignored_events_are_forgotten_after_their_time_and_no_others(world: World) -> None:
    event = Customer("stripe").events[0]
    await world.inbox.add(event, world.clock())
    await world.inbox.add(msgspec.structs.replace(event, event_id="evt_2", kind="ignored"), world.clock())
    assert await world.service.forget() == 0
    world.clock.forward(91 * 86_400)
    assert await world.service.forget() == 1
    assert list(world.inbox.rows) == [1]
