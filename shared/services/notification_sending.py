"""Sends the notifications that are due, each lane in order, with back-off, bounded tries and pace."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from shared.domain.notifications.attempts import Outcome, Result, asked_wait_s, result_of
from shared.domain.notifications.channels import ChannelCatalog
from shared.domain.notifications.claiming import MAX_PER_LANE, Due, Selection, selected
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import held, vendor_lane
from shared.errors import Unavailable
from shared.metrics import Count, Counter
from shared.services.notification_receivers import vendor_of

# An attempt ends within this time, whatever its sender does; the senders' own limits are shorter.
ATTEMPT_S = 20.0
# A claim counts as unanswered after this time: longer than a lane's attempts and their results take.
LEASE = timedelta(seconds=MAX_PER_LANE * ATTEMPT_S + 40)
LOOKED_AT = 200
# A run claims no more than it begins to send at once: after a crash, what is claimed counts as unanswered.
LANES_AT_ONCE = 16
# A run begins no further batch after this time; the timer starts the next run.
RUN_S = 20.0
# A run claims again after this time, so that a receiver that answers slowly holds up its own lane alone.
BATCH_S = 1.0
# How long the rest of a lane waits after an attempt that failed.
LANE_WAIT = timedelta(seconds=10)
_NOTE_WAITS_S = (0.2, 1.0, 3.0)
_COUNTS = {
    "sent": Count.NOTIFICATIONS_SENT,
    "dropped": Count.NOTIFICATIONS_DROPPED,
    "refused": Count.NOTIFICATIONS_REFUSED,
    "gone": Count.NOTIFICATIONS_REFUSED,
    "lost": Count.NOTIFICATIONS_UNANSWERED,
}

log = logging.getLogger(__name__)


class Queue(Protocol):
    async def claim(
        self,
        now: datetime,
        until: datetime,
        limit: int,
        lanes_of: Callable[[str], Collection[str]],
        selection: Callable[[Sequence[Due], dict[str, datetime]], Selection],
    ) -> list[Due]: ...
    async def note(
        self, claimed: Due, result: Result, now: datetime, events: Sequence[Event] = ()
    ) -> bool: ...
    async def give_back(self, ids: Sequence[UUID], at: datetime) -> None: ...
    async def free_lane(self, lane: str, ready_at: datetime) -> None: ...
    async def hold_lane(self, lane: str, ready_at: datetime) -> None: ...


class Receivers(Protocol):
    async def send(self, due: Due) -> Outcome: ...


class SendingService:
    """A crash at any moment loses nothing: a claim without a result is due again after LEASE.

    It sends twice only what was sent and whose result was not stored, because the receiver's answer, this
    process or the database was lost in between; `unanswered` of the row counts these attempts.
    """

    def __init__(
        self,
        *,
        queue: Queue,
        receivers: Receivers,
        channels: ChannelCatalog,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        random: Callable[[], float],
        count: Counter,
    ) -> None:
        """`random` returns a number in [0, 1)."""
        self._queue = queue
        self._receivers = receivers
        self._channels = channels
        self._now = now
        self._monotonic = monotonic
        self._random = random
        self._count = count

    async def run(self) -> int:
        """Sends what is due, for at most about RUN_S; returns the number of attempts. Raises Unavailable."""
        began, attempts = self._monotonic(), 0
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                lanes = dict[str, list[Due]]()
                if self._monotonic() - began < RUN_S and len(running) < LANES_AT_ONCE:
                    lanes = await self._claimed(LANES_AT_ONCE - len(running))
                if not lanes and not running:
                    return attempts
                attempts += sum(len(claimed) for claimed in lanes.values())
                running |= {asyncio.create_task(self._send_lane(*lane)) for lane in lanes.items()}
                done, running = await asyncio.wait(running, timeout=BATCH_S)
                await asyncio.gather(*done)
        except asyncio.CancelledError:
            for each in running:
                each.cancel()
            raise
        finally:
            # What was sent must be noted, whatever ends the run.
            await asyncio.gather(*running, return_exceptions=True)

    async def _claimed(self, most: int) -> dict[str, list[Due]]:
        """Claims what may go now, by lane, of at most `most` lanes."""
        now, lanes = self._now(), defaultdict[str, list[Due]](list)
        for each in await self._queue.claim(
            now, now + LEASE, LOOKED_AT, self._lanes_of, self._selection(now, most)
        ):
            lanes[each.lane].append(each)
        return lanes

    def _selection(
        self, now: datetime, lanes: int
    ) -> Callable[[Sequence[Due], dict[str, datetime]], Selection]:
        def selection(due: Sequence[Due], ready: dict[str, datetime]) -> Selection:
            channels = self._channels
            return selected(
                due,
                ready,
                lambda lane: vendor_of(lane, channels),
                channels.paces,
                now=now,
                lanes=lanes,
            )

        return selection

    def _lanes_of(self, lane: str) -> list[str]:
        vendor = vendor_of(lane, self._channels)
        return [lane] if vendor is None else [lane, vendor_lane(vendor)]

    async def _send_lane(self, lane: str, claimed: Sequence[Due]) -> None:
        """Sends one after another, until one fails; then the rest and the lane wait."""
        rest, paused_until = list(claimed), None
        while rest and paused_until is None:
            try:
                outcome = await self._attempt(rest[0])
            except Unavailable as error:
                log.warning("notifications of %s wait: %s", lane, error.internal or error.detail)
                paused_until = self._now() + LANE_WAIT
                break
            paused_until = await self._concluded(rest.pop(0), outcome)
        await self._free(lane, [each.notification_id for each in rest], paused_until)

    async def _attempt(self, due: Due) -> Outcome:
        """Raises Unavailable if it cannot be learnt to whom to send, so that nothing was sent."""
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await self._receivers.send(due)
        except TimeoutError:
            return Outcome("lost", f"The answer was lost: none in {ATTEMPT_S:g} s.")
        except Unavailable:
            raise
        except Exception as error:  # one bad notification must not hold up the others
            log.exception("%s to %s failed by a defect", due.notification_id, due.lane)
            return Outcome("refused", f"A defect of ours: {type(error).__name__}.")

    async def _concluded(self, due: Due, outcome: Outcome) -> datetime | None:
        """Stores the result of an attempt; returns until when its lane pauses, None if it goes on."""
        now = self._now()
        result = result_of(outcome, due.tries, now, self._random())
        is_stored = await self._note(due, result, now)
        self._count(_COUNTS[outcome.kind])
        if result.state == "parked":
            self._count(Count.NOTIFICATIONS_PARKED)
            log.warning("%s to %s is parked: %s", due.notification_id, due.lane, outcome.error)
        if not is_stored:
            return now + LANE_WAIT  # whatever else goes now might go twice, too
        if outcome.kind in ("sent", "dropped", "gone"):
            return None
        paused_until = now + max(LANE_WAIT, timedelta(seconds=asked_wait_s(outcome)))
        vendor = vendor_of(due.lane, self._channels)
        if outcome.everywhere and vendor is not None:
            ready_at = held(self._channels.paces[vendor].total, paused_until)
            with suppress(Unavailable):  # then the vendor says so again
                await self._queue.hold_lane(vendor_lane(vendor), ready_at)
        return paused_until

    async def _note(self, due: Due, result: Result, now: datetime) -> bool:
        """Stores a result with patience, because if it is lost, the receiver gets the notification twice.

        Returns whether it is stored.
        """
        events = [parked_event(due, result, now)] if _is_told(due, result) else []
        for wait_s in (*_NOTE_WAITS_S, None):
            try:
                if not await self._queue.note(due, result, now, events):
                    log.warning("the result of %s came after its lease", due.notification_id)
            except Unavailable as error:
                if wait_s is None:
                    log.warning("the result of %s is lost: %s", due.notification_id, error.internal)
                    self._count(Count.NOTIFICATIONS_UNANSWERED)
                    return False
                await asyncio.sleep(wait_s)
            else:
                break
        return True

    async def _free(self, lane: str, rest: Sequence[UUID], paused_until: datetime | None) -> None:
        """Gives back what was not sent, and the lane."""
        now = self._now()
        ready_at = now
        vendor = vendor_of(lane, self._channels)
        if paused_until is not None and vendor is not None:
            ready_at = held(self._channels.paces[vendor].lane, paused_until)
        try:
            if rest:
                await self._queue.give_back(rest, paused_until or now)
            await self._queue.free_lane(lane, ready_at)
        except Unavailable as error:
            log.warning("the lane %s is free after its lease: %s", lane, error.internal)


def _is_told(due: Due, result: Result) -> bool:
    """Operators are told of what was given up, but not that they could not be told."""
    return result.state == "parked" and due.event.kind != "notification_parked"


def parked_event(due: Due, result: Result, now: datetime) -> Event:
    """The event that a notification was given up; it has no account, because it is for operators."""
    return Event(
        event_id=f"parked:{due.notification_id}:{int(now.timestamp())}",
        kind="notification_parked",
        at=now,
        values={
            "notification_id": str(due.notification_id),
            "lane": due.lane,
            "event": due.event.kind,
            "tries": due.tries,
            "error": result.error,
        },
    )
