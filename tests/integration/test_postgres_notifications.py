"""The outbox of notifications on a real server: decisions, claims, results, and who may see them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from shared.adapters.postgres import (
    Database,
    DestinationStore,
    NotificationEvents,
    NotificationList,
    NotificationQueue,
    Upkeep,
)
from shared.domain.notifications.attempts import Outcome, Result, result_of
from shared.domain.notifications.channels import Pace, VendorPace
from shared.domain.notifications.claiming import Due, Selection, selected
from shared.domain.notifications.destinations import Destination
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import Lane
from shared.domain.notifications.routing import Route, Subscriber

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
UNTIL = NOW + timedelta(seconds=120)
FREE = VendorPace(total=Pace(per_minute=6_000, burst=100), lane=Pace(per_minute=6_000, burst=100))
LAST = UUID(int=2**128 - 1)


def an_event(event_id: str, account_id: str | None = "acct-1", kind: str = "license_expiring") -> Event:
    return Event(event_id=event_id, kind=kind, at=NOW, account_id=account_id, values={"days": 7})  # type: ignore[arg-type]


def a_destination(name: str, account_id: str = "acct-1", sealed_by: str = "present") -> Destination:
    return Destination(
        destination_id=name,
        account_id=account_id,
        license_id="lic_0123456789ab",
        kind="webhook",
        events=["license_expiring", "signal_published"],
        address="https://example.com",
        sealed=b"sealed",
        sealed_by=sealed_by,
        created_at=NOW,
    )


class Outbox:
    """The stores over one database, and a selection without a limit worth mentioning."""

    def __init__(self, database: Database) -> None:
        self.events = NotificationEvents(database)
        self.queue = NotificationQueue(database)
        self.list = NotificationList(database)
        self.destinations = DestinationStore(database)

    async def put(self, *routes: tuple[str, Lane], account_id: str | None = "acct-1") -> None:
        """Queues an event for each of the lanes."""
        await self.events.add([an_event(event_id, account_id) for event_id, _ in routes])
        async with self.queue.fan_out(1_000) as turn:
            lanes = dict[str, list[Lane]]()
            for event_id, lane in routes:
                lanes.setdefault(event_id, []).append(lane)
            for event in turn.events:
                await turn.add(event, [Route(lane, NOW, account_id) for lane in lanes[event.event_id]])

    async def claim(self, now: datetime = NOW, until: datetime = UNTIL, limit: int = 100) -> list[Due]:
        def selection(due: Sequence[Due], ready: dict[str, datetime]) -> Selection:
            return selected(due, ready, lambda lane: "webhook", {"webhook": FREE}, now=now, lanes=100)

        return await self.queue.claim(now, until, limit, lambda lane: [lane, "vendor:webhook"], selection)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def own(name: str) -> Lane:
    return Lane("own", name)


SENT = Result("sent", NOW, None, 0)


async def test_an_event_is_queued_once_for_each_lane_and_decided_once(outbox: Outbox) -> None:
    await outbox.put(("e-1", own("a")), ("e-1", own("b")), ("e-1", own("a")), ("e-2", own("a")))
    async with outbox.queue.fan_out(10) as turn:
        assert turn.events == []
    rows = await outbox.list.listed(state=None, lane=None, before=LAST, limit=10)
    assert sorted((row.event_id, row.lane) for row in rows) == [
        ("e-1", "own:a"),
        ("e-1", "own:b"),
        ("e-2", "own:a"),
    ]


async def test_a_decision_that_fails_is_made_again(outbox: Outbox) -> None:
    await outbox.events.add([an_event("e-1"), an_event("e-2")])
    with pytest.raises(ConnectionError):
        async with outbox.queue.fan_out(10) as turn:
            for event in turn.events:
                await turn.add(event, [Route(own("a"), NOW)])
            raise ConnectionError
    async with outbox.queue.fan_out(10, skipped={"e-1"}) as turn:
        assert [event.event_id for event in turn.events] == ["e-2"]
    assert await outbox.list.listed(state=None, lane=None, before=LAST, limit=10) == []


async def test_subscribers_are_of_the_events_account_or_of_all_for_a_signal(outbox: Outbox) -> None:
    for name, account in (("webhook_1", "acct-1"), ("webhook_2", "acct-2"), ("webhook_3", "acct-1")):
        assert await outbox.destinations.add(a_destination(name, account), 2)
    assert not await outbox.destinations.add(a_destination("webhook_4"), 2)
    await outbox.destinations.end("webhook_3", "410 Gone", NOW)
    async with outbox.queue.fan_out(10) as turn:
        of_account = await turn.subscribers(an_event("e-1"))
        of_all = await turn.subscribers(an_event("e-2", None, "signal_published"))
        assert await turn.subscribers(an_event("e-3", kind="key_rotated")) == []
    license_id = "lic_0123456789ab"
    assert of_account == [Subscriber("webhook_1", "acct-1", license_id)]
    assert of_all == [*of_account, Subscriber("webhook_2", "acct-2", license_id)]


async def test_two_runs_never_claim_one_notification_nor_one_lane(outbox: Outbox) -> None:
    await outbox.put(*((f"e-{n}", own(f"lane{n % 5}")) for n in range(40)))
    claims = await asyncio.gather(*(outbox.claim(limit=20) for _ in range(4)))
    claimed = [each.notification_id for claim in claims for each in claim]
    assert len(claimed) == len(set(claimed)) > 0
    lanes = [{each.lane for each in claim} for claim in claims]
    assert sum(map(len, lanes)) == len(set().union(*lanes))
    assert {each.tries for claim in claims for each in claim} == {1}


async def test_a_lane_with_very_many_hides_no_other(outbox: Outbox) -> None:
    await outbox.put(*((f"e-{number:03}", own("replayed")) for number in range(60)))
    await outbox.put(("e-late", own("b")), ("e-later", own("c")))
    claimed = await outbox.claim(limit=20)
    assert {each.lane for each in claimed} == {"own:replayed", "own:b", "own:c"}
    mine = [each.event.event_id for each in claimed if each.lane == "own:replayed"]
    assert mine == [f"e-{number:03}" for number in range(4)]


async def test_a_claim_without_a_result_is_due_again_and_counted(outbox: Outbox) -> None:
    await outbox.put(("e-1", own("a")))
    (first,) = await outbox.claim()
    assert await outbox.claim(UNTIL - timedelta(seconds=1)) == []
    (second,) = await outbox.claim(UNTIL, UNTIL + timedelta(seconds=120))
    assert (first.tries, second.tries) == (1, 2)
    # The first sender comes back after its lease: its result counts no more.
    assert not await outbox.queue.note(first, SENT, UNTIL)
    assert await outbox.queue.note(second, SENT, UNTIL)
    (row,) = await outbox.list.listed(state="sent", lane=None, before=LAST, limit=10)
    assert (row.tries, row.unanswered, row.done_at) == (2, 1, UNTIL)
    assert await outbox.claim(UNTIL + timedelta(days=1)) == []


async def test_results_are_stored_with_what_follows_from_them(outbox: Outbox) -> None:
    await outbox.put(("e-1", own("a")), ("e-2", own("b")))
    one, other = sorted(await outbox.claim(), key=lambda each: each.lane)
    later = result_of(Outcome("lost", "no answer"), 1, NOW, 0.5)
    assert await outbox.queue.note(one, later, NOW)
    parked = Result("parked", NOW, "410", 0)
    assert await outbox.queue.note(other, parked, NOW, [an_event("parked", None, "notification_parked")])
    assert await outbox.queue.waiting(NOW + timedelta(seconds=15)) == (1, 5.0)
    await outbox.queue.free_lane("own:a", NOW)
    (again,) = await outbox.claim(NOW + timedelta(seconds=10))
    assert (again.lane, again.tries) == ("own:a", 2)
    async with outbox.queue.fan_out(10) as turn:
        assert [event.kind for event in turn.events] == ["notification_parked"]


async def test_what_was_not_sent_is_given_back(outbox: Outbox) -> None:
    await outbox.put(("e-1", own("a")))
    (claimed,) = await outbox.claim()
    await outbox.queue.give_back([claimed.notification_id], NOW + timedelta(seconds=9))
    await outbox.queue.free_lane("own:a", NOW)
    assert await outbox.claim(NOW + timedelta(seconds=8)) == []
    (again,) = await outbox.claim(NOW + timedelta(seconds=9))
    assert again.tries == 1
    (row,) = await outbox.list.listed(state=None, lane="own:a", before=LAST, limit=10)
    assert row.unanswered == 0


async def test_a_held_lane_and_vendor_wait(outbox: Outbox) -> None:
    await outbox.put(("e-1", own("a")), ("e-2", own("b")))
    claimed = await outbox.claim()
    for each in claimed:
        await outbox.queue.give_back([each.notification_id], NOW)
        await outbox.queue.free_lane(each.lane, NOW)
    await outbox.queue.hold_lane("own:a", NOW + timedelta(minutes=10))
    assert [each.lane for each in await outbox.claim()] == ["own:b"]
    await outbox.queue.hold_lane("vendor:webhook", NOW + timedelta(minutes=20))
    assert await outbox.claim(NOW + timedelta(minutes=10)) == []


async def test_an_account_sees_and_replays_its_own_and_no_others(outbox: Outbox) -> None:
    await outbox.put(("e-1", own("a")), ("e-2", own("a")))
    await outbox.put(("e-3", own("a")), account_id="acct-2")
    first, second = await outbox.list.own("acct-1", after=UUID(int=0), signals_until=NOW, limit=10)
    assert [row.event.event_id for row in (first, second)] == ["e-1", "e-2"]
    assert first.event == an_event("e-1")
    assert await outbox.list.own("acct-1", after=first.notification_id, signals_until=NOW, limit=10) == [
        second
    ]
    for each in await outbox.claim():
        await outbox.queue.note(each, SENT, NOW)
    since = NOW - timedelta(days=365)
    replayed = await outbox.list.replay("acct-1", "own:a", since=since, now=NOW, limit=1)
    assert replayed == 1
    rows = await outbox.list.own("acct-1", after=UUID(int=0), signals_until=NOW, limit=10)
    assert [row.state for row in rows] == ["waiting", "sent"]
    assert await outbox.list.replay("acct-3", "own:a", since=since, now=NOW, limit=10) == 0


async def test_an_account_sees_no_signal_before_its_delay_and_misses_nothing(outbox: Outbox) -> None:
    """A license with a delay of signals would read them here at once."""
    await outbox.put(("e-1", own("a")))
    await outbox.events.add([an_event("e-2", None, "signal_published")])
    async with outbox.queue.fan_out(10) as turn:
        for event in turn.events:
            await turn.add(event, [Route(own("a"), NOW + timedelta(minutes=15), "acct-1")])
    await outbox.put(("e-3", own("a")))

    async def seen(signals_until: datetime) -> list[str]:
        rows = await outbox.list.own("acct-1", after=UUID(int=0), signals_until=signals_until, limit=10)
        return [row.event.event_id for row in rows]

    assert await seen(NOW - timedelta(seconds=1)) == ["e-1"]
    assert await seen(NOW) == ["e-1", "e-2", "e-3"]


async def test_an_operator_lets_what_was_given_up_be_tried_again(outbox: Outbox) -> None:
    await outbox.put(("e-1", own("a")))
    (claimed,) = await outbox.claim()
    key = claimed.notification_id
    assert not await outbox.list.retry(key, NOW)
    await outbox.queue.note(claimed, Result("parked", NOW, "500", 0), NOW)
    assert await outbox.list.state_of(key) == "parked"
    assert await outbox.list.retry(key, NOW)
    await outbox.queue.free_lane("own:a", NOW)
    (again,) = await outbox.claim()
    assert again.tries == 1
    assert await outbox.list.state_of(UUID(int=1)) is None


async def test_without_saying_so_no_request_reads_the_rows_of_others(
    outbox: Outbox, database: Database
) -> None:
    await outbox.put(("e-1", own("a")))
    await outbox.destinations.add(a_destination("webhook_1"), 5)
    counts = "select (select count(*) from notifications), (select count(*) from notification_events)"
    counts += ", (select count(*) from destinations)"
    for account, seen in (("acct-1", (1, 1, 1)), ("acct-2", (0, 0, 0)), (None, (0, 0, 0))):
        async with database.transaction(account_id=account) as connection:
            assert await (await connection.execute(counts.encode())).fetchone() == seen
    async with database.transaction(account_id="acct-2") as connection:
        changed = await connection.execute(b"update notifications set state = 'sent'")
        assert changed.rowcount == 0


async def test_upkeep_forgets_events_with_their_notifications(
    outbox: Outbox, database: Database, database_url: str
) -> None:
    await outbox.put(("e-1", own("a")))
    await outbox.events.add([an_event("undecided")])
    assert await Upkeep(database).prune_notifications(NOW - timedelta(days=3650)) == 0
    assert await Upkeep(database).prune_notifications(datetime.now(UTC) + timedelta(minutes=1)) == 1
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        left = "select (select count(*) from notifications), (select count(*) from notification_events)"
        assert await (await connection.execute(left.encode())).fetchone() == (0, 1)


async def test_destinations_are_sealed_again_unless_they_changed(outbox: Outbox) -> None:
    await outbox.destinations.add(a_destination("webhook_1", sealed_by="former"), 5)
    (found,) = await outbox.destinations.sealed_by_others("present")
    assert await outbox.destinations.reseal(found, b"again", "present")
    assert not await outbox.destinations.reseal(found, b"late", "present")
    assert await outbox.destinations.sealed_by_others("present") == []
    stored = await outbox.destinations.get("acct-1", "webhook_1")
    assert stored is not None
    assert (stored.sealed, stored.sealed_by) == (b"again", "present")
    assert await outbox.destinations.get("acct-2", "webhook_1") is None
    assert not await outbox.destinations.delete("acct-2", "webhook_1")
    assert await outbox.destinations.delete("acct-1", "webhook_1")
    assert await outbox.destinations.find("webhook_1") is None
