"""Notifications are never lost, and reach a receiver twice only if the answer of an attempt was lost.

The world below may crash a run at any of its steps, lose answers, refuse, and take the database away.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.notifications.files import shipped_channels
from shared.domain.notifications.attempts import MAX_TRIES, SENT, Outcome
from shared.domain.notifications.claiming import Due
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import Lane
from shared.domain.notifications.routing import Route
from shared.errors import DatabaseUnavailable, KeyStoreUnavailable
from shared.metrics import Count
from shared.services import notification_sending
from shared.services.notification_sending import LANES_AT_ONCE, LEASE, SendingService
from tests.support.access_fakes import Clock
from tests.support.memory_notifications import MemoryQueue
from tests.support.memory_stores import MemoryStores

LANES = ("own:webhook_a", "own:discord_b", "channel:ops", "mail:lic_1")


class Crash(BaseException):
    """The process dies here."""


class World:
    """One queue, its receivers, and runs whose steps end as `fates` say; afterwards all is well."""

    def __init__(self, fates: list[str]) -> None:
        self.clock = Clock()
        stores = MemoryStores(self.clock())
        self.server = stores.server
        self.queue: MemoryQueue = stores.notification_queue
        self.fates = list(fates)
        self.received: Counter[UUID] = Counter()
        self.order: list[tuple[str, UUID]] = []
        self.lost: Counter[UUID] = Counter()
        self.counts: Counter[str] = Counter()

    def put(self, lane: str, number: int) -> None:
        kind, _, name = lane.partition(":")
        event = Event(event_id=f"{lane}-{number}", kind="test", at=self.clock())
        self.queue.put(event, Route(Lane(kind, name), event.at))  # type: ignore[arg-type]

    async def send(self, due: Due) -> Outcome:
        """The receiver: takes it or not, and its answer may be lost, with the process or without."""
        fate = self.fates.pop(0) if self.fates else "sent"
        if fate == "crash before":
            raise Crash
        if fate == "unknown receiver":
            raise KeyStoreUnavailable("The licenses cannot be read.")
        if fate in ("refused", "asked to wait"):
            return Outcome("refused", "500", 60.0 if fate == "asked to wait" else None, everywhere=True)
        self.received[due.notification_id] += 1
        self.order.append((due.lane, due.notification_id))
        if fate == "sent" and not self.server.away:
            return SENT
        # Its answer, or the result that we cannot store, is lost.
        self.lost[due.notification_id] += 1
        if fate == "crash after":
            raise Crash
        if fate in ("database away", "sent"):
            self.server.away = True
            return SENT
        return Outcome("lost", "no answer")

    async def run(self) -> None:
        service = SendingService(
            queue=self.queue,
            receivers=self,
            channels=shipped_channels(),
            now=self.clock,
            monotonic=lambda: self.clock().timestamp(),
            random=lambda: 0.5,
            count=lambda name, count=1: self.counts.update({name: count}),
        )
        with suppress(Crash, DatabaseUnavailable):
            await service.run()
        self.server.away = False

    async def until_idle(self) -> None:
        """Runs again and again, as the timer does, until nothing waits."""
        for _ in range(400):
            await self.run()
            waiting = [row for row in self.queue.rows.values() if row.state == "waiting"]
            if not waiting:
                return
            later = min(row.next_try_at for row in waiting) - self.clock()
            self.clock.forward(max(later.total_seconds(), 5.0))
        raise AssertionError("something waits for ever")


FATES = st.sampled_from(
    (
        *("sent", "refused", "asked to wait", "lost", "crash before", "crash after"),
        *("database away", "unknown receiver"),
    )
)


@pytest.fixture(autouse=True, scope="module")
def _no_patience() -> None:
    notification_sending._NOTE_WAITS_S = (0.0,)  # type: ignore[assignment]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(LANES), min_size=1, max_size=12), st.lists(FATES, max_size=8))
async def test_whatever_happens_all_arrive_and_only_lost_answers_double(
    lanes: list[str], fates: list[str]
) -> None:
    world = World(fates)
    for number, lane in enumerate(lanes):
        world.put(lane, number)
    await world.until_idle()
    assert {row.state for row in world.queue.rows.values()} == {"sent"}
    for key, row in world.queue.rows.items():
        times = world.received[key]
        assert times >= 1
        # Each repeat has a lost answer before it, and the row counts at least as many.
        assert times <= 1 + world.lost[key]
        assert times <= 1 + row.unanswered


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(LANES), min_size=2, max_size=20))
async def test_without_trouble_each_arrives_once_and_in_order(lanes: list[str]) -> None:
    world = World([])
    for number, lane in enumerate(lanes):
        world.put(lane, number)
    await world.until_idle()
    assert set(world.received.values()) == {1}
    for lane in LANES:
        sent = [key for each, key in world.order if each == lane]
        assert sent == sorted(sent)


async def test_a_receiver_that_never_takes_it_is_given_up_after_a_day_and_told() -> None:
    world = World(["refused"] * MAX_TRIES)
    world.put("own:webhook_a", 1)
    began = world.clock()
    await world.until_idle()
    (row,) = [row for row in world.queue.rows.values() if row.lane == "own:webhook_a"]
    assert (row.state, row.tries, row.unanswered) == ("parked", MAX_TRIES, 0)
    assert timedelta(hours=22) < world.clock() - began < timedelta(hours=26)
    (event,) = world.queue.events.events.values()
    assert (event.kind, event.values["error"], event.account_id) == ("notification_parked", "500", None)
    assert world.counts[Count.NOTIFICATIONS_PARKED] == 1


async def test_what_operators_could_not_be_told_makes_no_further_event() -> None:
    world = World(["refused"] * MAX_TRIES)
    event = Event(event_id="parked:1", kind="notification_parked", at=world.clock())
    world.queue.put(event, Route(Lane("channel", "ops"), event.at))
    await world.until_idle()
    assert world.queue.events.events == {}


async def test_a_wait_for_all_holds_every_lane_of_the_vendor() -> None:
    world = World(["asked to wait"])
    for lane in ("own:webhook_a", "own:webhook_b", "own:discord_b"):
        world.put(lane, 1)
    await world.run()
    first = [lane for lane, _ in world.order]
    world.put("own:webhook_c", 2)
    await world.run()
    assert [lane for lane, _ in world.order] == first, "nothing goes before the wait is over"
    world.clock.forward(61)
    await world.run()
    assert {lane for lane, _ in world.order} >= {"own:webhook_a", "own:webhook_c"}


async def test_a_defect_in_one_message_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    world = World([])
    send = world.send

    async def break_once(due: Due) -> Outcome:
        if due.lane == "channel:ops" and due.tries == 1:
            raise KeyError("a defect")
        return await send(due)

    world.send = break_once  # type: ignore[method-assign]
    for lane in LANES:
        world.put(lane, 1)
    await world.until_idle()
    assert set(world.received.values()) == {1}
    assert any(record.exc_info for record in caplog.records)


async def test_a_crash_is_over_after_the_lease_and_no_earlier() -> None:
    world = World(["crash after"])
    world.put("own:webhook_a", 1)
    await world.run()
    world.clock.forward(LEASE.total_seconds() - 1)
    await world.run()
    assert sum(world.received.values()) == 1
    world.clock.forward(1)
    await world.run()
    (row,) = world.queue.rows.values()
    assert (row.state, row.unanswered, sum(world.received.values())) == ("sent", 1, 2)
    assert isinstance(row.done_at, datetime)


async def test_a_receiver_that_answers_slowly_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_sending, "BATCH_S", 0.01)
    world, others = World([]), asyncio.Event()
    world.put("own:webhook_slow", 0)
    for number in range(3 * LANES_AT_ONCE):
        world.put(f"own:webhook_{number}", 0)
    send = world.send

    async def sent(due: Due) -> Outcome:
        if due.lane == "own:webhook_slow":
            await others.wait()
        outcome = await send(due)
        if len(world.received) == 3 * LANES_AT_ONCE:
            others.set()
        return outcome

    world.send = sent  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        await world.run()
    assert set(world.received.values()) == {1}
    assert world.order[-1][0] == "own:webhook_slow"
    assert len(world.order) == 3 * LANES_AT_ONCE + 1
