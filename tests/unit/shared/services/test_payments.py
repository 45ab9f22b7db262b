"""The timer applies payment events to licenses, in whatever order they come."""

import random
from datetime import timedelta

import msgspec
import pytest

from shared.domain.access.account_data import erased
from shared.services.payments import ADDRESS_WAIT
from tests.support.payment_histories import EMAIL, Customer, delivered, moment
from tests.support.payment_world import PaymentWorld


@pytest.fixture
def world() -> PaymentWorld:
    return PaymentWorld()


async def test_a_purchase_makes_one_license_and_marks_all_of_its_events(world: PaymentWorld) -> None:
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


async def test_events_that_come_again_change_nothing(world: PaymentWorld) -> None:
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


async def test_a_customer_who_fails_to_pay_is_suspended_and_works_again_once_paid(
    world: PaymentWorld,
) -> None:
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
    group = f"license.{world.license_of(customer).license_id}"
    assert world.hub.closed == [(group, "license suspended by payment")]
    seen = len(customer.happened)
    customer.do("pay")
    await world.deliver(*customer.events[seen:])
    assert world.license_of(customer).status == "active"


async def test_an_unknown_product_is_parked_and_works_after_the_setting_is_mended() -> None:
    world = PaymentWorld({})
    customer = Customer("stripe")
    await world.deliver(*customer.events)
    failed = [row for row in world.inbox.rows.values() if row.state == "failed"]
    assert failed
    assert "PAYMENT_PLANS has no plan for stripe:price_starter" in failed[0].outcome
    assert world.keys.licenses == {}
    assert world.counts["payment_events_failed"] == len(failed)
    told = {each.event_id: each for each in reversed(world.told)}
    (parked,) = told.values()
    assert (parked.kind, parked.values["outcome"]) == ("payment_parked", failed[-1].outcome)
    assert parked.values["subject"] == customer.subject
    world.products["stripe:price_starter"] = "starter"
    await world.inbox.run_again(failed[0].payment_event_id, world.clock())
    await world.service.run()
    assert world.license_of(customer).plan == "starter"
    assert world.states == {"applied"}


async def test_a_plan_that_does_not_exist_is_parked() -> None:
    world = PaymentWorld({"stripe:price_starter": "platinum"})
    await world.deliver(*Customer("stripe").events)
    assert "platinum, which does not exist" in world.inbox.rows[2].outcome


async def test_a_product_that_is_sold_no_more_does_not_keep_a_refunded_license_alive(
    world: PaymentWorld,
) -> None:
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


async def test_a_refund_waits_for_the_events_that_name_its_subscription(world: PaymentWorld) -> None:
    customer = Customer("stripe")
    customer.do("refund")
    refund = next(each for each in customer.events if each.kind == "refunded")
    await world.deliver(refund)
    assert (world.inbox.rows[1].state, world.inbox.rows[1].tries) == ("received", 1)
    await world.deliver(*customer.events)
    assert world.states == {"applied"}
    assert world.keys.licenses == {}  # nobody is told of a license that is over before it is made
    assert "it would be revoked" in world.inbox.rows[1].outcome


async def test_a_license_waits_a_moment_for_the_buyers_address(world: PaymentWorld) -> None:
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
    assert world.told == []  # the step of the license itself tells, see license_events


async def test_what_is_reported_of_a_holder_who_was_erased_names_nobody(world: PaymentWorld) -> None:
    customer = Customer("stripe")
    await world.deliver(*customer.events)
    license_id = world.license_of(customer).license_id
    await world.licenses.change(license_id, lambda each: erased(each, "erased-1"), "license erased")
    before, seen = world.license_of(customer), len(customer.happened)
    customer.do("renew")
    customer.do("end")
    await world.deliver(*customer.events[seen:])
    assert world.license_of(customer) == before
    assert world.states == {"applied"}
    assert {row.account_id for row in world.inbox.rows.values()} == {"erased-1"}
    assert {each.email or each.customer or each.discord_user_id for each in world.inbox.events.values()} == {
        None
    }


async def test_the_caches_learn_of_a_payment_although_the_process_died_before(world: PaymentWorld) -> None:
    customer = Customer("stripe")
    await world.deliver(*customer.events)
    told = world.cache.told
    await world.inbox.run_again(1, world.clock())
    await world.service.run()
    assert world.cache.told == told + 1
    customer.do("dispute")
    await world.deliver(*customer.events)
    told, entries = world.cache.told, len(world.audit.entries)
    await world.inbox.run_again(1, world.clock())
    await world.service.run()
    # What is refused, the timer of endings tells; nothing is audited twice.
    assert (world.cache.told, len(world.audit.entries)) == (told, entries)


async def test_two_subscriptions_of_one_customer_share_an_account(world: PaymentWorld) -> None:
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
        world = PaymentWorld()
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


async def test_ignored_events_are_forgotten_after_their_time_and_no_others(world: PaymentWorld) -> None:
    event = Customer("stripe").events[0]
    await world.inbox.add(event, world.clock())
    await world.inbox.add(msgspec.structs.replace(event, event_id="evt_2", kind="ignored"), world.clock())
    assert await world.service.forget() == 0
    world.clock.forward(91 * 86_400)
    assert await world.service.forget() == 1
    assert list(world.inbox.rows) == [1]


async def test_a_rush_of_buyers_is_served_in_one_run(world: PaymentWorld) -> None:
    customers = [Customer("stripe", seed) for seed in range(40)]
    for event in (event for customer in customers for event in customer.events):
        await world.inbox.add(event, world.clock())
    assert await world.service.run() >= 200
    assert len(world.keys.licenses) == 40
    assert world.states == {"applied"}
