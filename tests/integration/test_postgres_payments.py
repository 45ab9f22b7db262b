"""The inbox of payment vendors on a real server: each event once, whole subscriptions, one run at a time."""

import asyncio
import random
from datetime import timedelta

import msgspec
import psycopg
import pytest

from shared.adapters.postgres import Database, PaymentStore
from shared.domain.payments.events import PaymentEvent
from shared.domain.payments.history import state_of
from shared.domain.payments.inbox import PaymentFilter
from shared.errors import Conflict, NotFound
from tests.support.payment_histories import START, Customer, moment

NOW = moment(START) + timedelta(days=1)


@pytest.fixture
def store(database: Database) -> PaymentStore:
    return PaymentStore(database)


async def fill(store: PaymentStore, events: list[PaymentEvent]) -> None:
    for event in events:
        await store.add(event, NOW)


async def states(store: PaymentStore) -> list[tuple[str, str]]:
    return [(each.state, each.outcome) for each in reversed(await store.list(PaymentFilter(), 100))]


async def test_an_event_is_stored_once_and_comes_back_as_it_was(store: PaymentStore) -> None:
    customer = Customer("stripe")
    stored = await asyncio.gather(*(store.add(customer.events[0], NOW) for _ in range(5)))
    assert sorted(stored) == [False, False, False, False, True]
    # The same id at another vendor is another event.
    assert await store.add(msgspec.structs.replace(customer.events[0], provider="whop", subject=None), NOW)
    await fill(store, customer.events)
    (first, *_) = await store.due(NOW, 1)
    async with store.turn(first.payment_event_id) as turn:
        assert turn.subject == customer.subject
        assert [each.event for each in turn.events] == customer.events
        assert {each.received_at for each in turn.events} == {NOW}


@pytest.mark.parametrize("vendor", ["stripe", "whop"])
async def test_a_turn_has_all_of_a_subscription_and_nothing_of_another(
    store: PaymentStore, vendor: str
) -> None:
    customers = [Customer(vendor, seed) for seed in (1, 2)]  # type: ignore[arg-type]
    for customer in customers:
        for action in ("renew", "refund", "renew", "dispute"):
            customer.wait(60)
            customer.do(action)
    events = [event for customer in customers for event in customer.events]
    random.Random(7).shuffle(events)
    await fill(store, events)
    for due in await store.due(NOW, 500):
        async with store.turn(due.payment_event_id) as turn:
            (customer,) = [each for each in customers if each.subject == turn.subject]
            found = [each.event for each in turn.events]
            assert len(found) == len(customer.events)
            assert state_of(found) == state_of(customer.events)


async def test_an_event_whose_subscription_is_unknown_is_alone(store: PaymentStore) -> None:
    customer = Customer("stripe")
    linked = [each for each in customer.events if each.kind == "linked"]
    await fill(store, linked)
    for due in await store.due(NOW, 10):
        async with store.turn(due.payment_event_id) as turn:
            assert (turn.subject, len(turn.events)) == (None, 1)


async def test_what_a_turn_did_is_marked_once_it_is_committed(store: PaymentStore) -> None:
    customer = Customer("stripe")
    await fill(store, [each for each in customer.events if each.subject is not None][:3])
    (first, *_) = await store.due(NOW, 10)
    with pytest.raises(RuntimeError):
        async with store.turn(first.payment_event_id) as turn:
            await turn.settle("done", license_id="lic_1", account_id="stripe-cus_1")
            raise RuntimeError
    assert await states(store) == [("received", "")] * 3
    async with store.turn(first.payment_event_id) as turn:
        await turn.settle("x" * 900, license_id="lic_1", account_id="stripe-cus_1")
    assert await states(store) == [("applied", "x" * 500)] * 3
    assert await store.due(NOW, 10) == []


async def test_events_of_a_holder_who_was_erased_name_the_pseudonym_alone(store: PaymentStore) -> None:
    customer = Customer("stripe")
    await fill(store, customer.events)
    (first, *_) = await store.due(NOW, 10)
    async with store.turn(first.payment_event_id) as turn:
        await turn.erase("erased-1")
        await turn.settle("its holder was erased", license_id="lic_1", account_id="erased-1")
    assert {each.account_id for each in await store.list(PaymentFilter(), 100)} == {"erased-1"}
    async with store.turn(first.payment_event_id) as turn:
        told = [each.event for each in turn.events]
    assert {(each.customer, each.email, each.discord_user_id) for each in told} == {(None, None, None)}


async def test_two_runs_do_not_decide_on_one_subscription_at_once(store: PaymentStore) -> None:
    customer = Customer("stripe")
    await fill(store, customer.events)
    due = [each.payment_event_id for each in await store.due(NOW, 10)]
    inside = 0

    async def decide(number: int) -> None:
        nonlocal inside
        async with store.turn(number):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(decide(number) for number in due[:2]))


async def test_events_wait_are_parked_and_run_again(store: PaymentStore) -> None:
    await fill(store, Customer("stripe").events[:2])
    first, second = await store.due(NOW, 10)
    await store.put_off(first.payment_event_id, "waits", NOW + timedelta(seconds=5))
    await store.put_off(second.payment_event_id, "no plan", None)
    assert await states(store) == [("received", "waits"), ("failed", "no plan")]
    assert await store.due(NOW, 10) == []
    (again,) = await store.due(NOW + timedelta(seconds=5), 10)
    assert (again.payment_event_id, again.tries) == (first.payment_event_id, 1)
    shown = await store.run_again(second.payment_event_id, NOW)
    assert (shown.state, shown.tries, shown.next_try_at) == ("received", 0, NOW)
    assert [each.payment_event_id for each in await store.due(NOW, 10)] == [second.payment_event_id]
    with pytest.raises(NotFound):
        await store.run_again(999, NOW)


async def test_events_are_listed_by_state_and_subscription_in_pages(store: PaymentStore) -> None:
    one, other = Customer("stripe", 1), Customer("whop", 2)
    await fill(store, [*one.events, *other.events])
    (first, *_) = await store.due(NOW, 1)
    await store.put_off(first.payment_event_id, "no plan", None)
    everything = await store.list(PaymentFilter(), 100)
    assert len(everything) == len(one.events) + len(other.events)
    page = await store.list(PaymentFilter(before=everything[2].payment_event_id), 2)
    assert page == everything[3:5]
    assert await store.list(PaymentFilter(state="failed"), 100) == [everything[-1]]
    of_other = await store.list(PaymentFilter(subject=other.subject), 100)
    assert of_other == [each for each in everything if each.subject == other.subject]
    assert await store.list(PaymentFilter(subject=other.subject, state="failed"), 100) == []


async def test_ignored_events_are_shown_not_run_and_forgotten(store: PaymentStore) -> None:
    event = msgspec.structs.replace(Customer("stripe").events[0], kind="ignored", why_ignored="a test event")
    await store.add(event, NOW)
    (shown,) = await store.list(PaymentFilter(), 10)
    assert (shown.state, shown.outcome, shown.next_try_at) == ("ignored", "a test event", None)
    with pytest.raises(Conflict, match="a test event"):
        await store.run_again(shown.payment_event_id, NOW)
    assert await store.due(NOW + timedelta(days=1), 10) == []
    assert await store.forget_ignored(NOW) == 0
    assert await store.forget_ignored(NOW + timedelta(seconds=1)) == 1


async def test_a_large_history_is_folded_in_a_moment(store: PaymentStore, database_url: str) -> None:
    """Ten years of a monthly subscription: some 700 events, in one turn."""
    customer = Customer("stripe")
    for _ in range(120):
        customer.do("renew")
    rows = [
        (
            *(each.provider, each.event_id, each.type, each.kind, each.at, each.subject),
            *(list(each.links), msgspec.json.encode(each).decode()),
        )
        for each in customer.events
    ]
    async with (
        await psycopg.AsyncConnection.connect(database_url) as connection,
        connection.cursor() as cursor,
    ):
        await cursor.executemany(
            "insert into payment_events"
            " (provider, event_id, type, kind, created_at, subject, links, payload, state)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, 'received')",
            rows,
        )
    (first, *_) = await store.due(NOW + timedelta(days=10_000), 1)
    clock = asyncio.get_running_loop().time
    began = clock()
    async with store.turn(first.payment_event_id) as turn:
        state = state_of(each.event for each in turn.events)
    assert state == state_of(customer.events)
    assert clock() - began < 2
