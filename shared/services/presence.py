"""Counts the open connections of each license exactly, over all processes, and enforces the plan's limit.

Postgres holds the counts. One transaction of a process is under way at a time; events that arrive during it
share the next one. So however many clients connect at once, they use one database connection of the process.

Reports of ended connections can get lost. So a timer compares the counts with the service's own list, and a
license that seems to be full is compared at once, before a client is refused.

If Postgres is unavailable, the limit opens: clients connect uncounted, and their URLs may connect twice. That
is counted, logged and alarmed. When Postgres answers again, each process compares the licenses that it let
in uncounted, and closes the youngest connections above their limits. If Postgres answers and only a queue of
ours is full, clients are refused with 503: otherwise a flood would open the limit.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

import msgspec

from shared.domain.access.client_access import ACCESS_URL_LIFETIME, group_of_subject
from shared.domain.access.connections import Opening, Verdict
from shared.domain.access.licenses import License
from shared.domain.access.plan_catalog import PlanCatalog
from shared.errors import AccessUrlUsed, DatabaseBusy, Unavailable
from shared.metrics import Count, Counter
from shared.services.bounded import make_room
from shared.services.concurrency import run_for_each
from shared.services.full_licenses import FullLicenses

# Bounds the time of one transaction; each opening adds about 20 us to it.
MAX_EVENTS_PER_TRANSACTION = 256
# More events than this many wait only if Postgres is too slow; they are refused.
MAX_WAITING = 4_096
# A connection this young may be missing from the service's list, because its client is still connecting.
LISTED_AFTER_S = 10.0
# A license that seems to be full is compared again no more often than this.
COMPARE_EVERY_S = 5.0
# The timer compares each license about this often, and at most so many a run.
COMPARED_FOR_S = 20.0
MAX_COMPARED = 50
COMPARED_AT_ONCE = 8
# A used URL is forgotten when its token has expired for certain, the clocks' differences included.
USED_URL_LIFE_S = 2 * ACCESS_URL_LIFETIME.total_seconds()
CLOSED_AT_ONCE = 8
BUSY_RETRY_AFTER_S = 1.0
MAX_REMEMBERED = 10_000

log = logging.getLogger(__name__)


class ConnectionStore(Protocol):
    async def record(self, openings: Sequence[Opening], closed: Sequence[str]) -> list[Verdict]: ...
    async def unchecked(self, older_than_s: float, limit: int) -> list[str]: ...
    async def counted(self, license_id: str) -> list[str]: ...
    async def compare(
        self, license_id: str, listed: Collection[str], added: Collection[str], older_than_s: float
    ) -> int: ...
    async def excess(self, license_id: str, limit: int) -> list[str]: ...
    async def prune_used_urls(self, older_than_s: float) -> int: ...


class LicenseReader(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...


class Hub(Protocol):
    async def connections_in(self, group: str) -> list[str]: ...
    async def close_connection(self, connection_id: str, reason: str) -> None: ...


class _Event(msgspec.Struct):
    """A connection that wants to open, or the id of one that has closed; `done` gets the verdict."""

    opening: Opening | None
    closed: str | None
    done: asyncio.Future[Verdict | None]


class Presence:
    """The connections of one event loop's process; `clock` returns seconds, monotonic."""

    def __init__(
        self,
        *,
        store: ConnectionStore,
        licenses: LicenseReader,
        plans: PlanCatalog,
        hub: Hub,
        clock: Callable[[], float],
        count: Counter,
    ) -> None:
        self._store = store
        self._licenses = licenses
        self._plans = plans
        self._hub = hub
        self._clock = clock
        self._count = count
        self._waiting: list[_Event] = []
        self._recording: asyncio.Task[None] | None = None
        self._opening: defaultdict[str, int] = defaultdict(int)
        self._compared_at: dict[str, float] = {}
        self._comparing: dict[str, asyncio.Task[int]] = {}
        self._failing = False
        self._full = FullLicenses(clock, count)
        self._uncounted: dict[str, None] = {}  # license ids, the oldest first
        self._counting: asyncio.Task[None] | None = None
        self._count_again_at = float("-inf")

    async def open(self, opening: Opening, account_id: str) -> None:
        """Counts a connection before it opens.

        Raises AccessUrlUsed, ConnectionsExceeded, and DatabaseBusy if too many others open at once.
        """
        license_id = opening.license_id
        self._full.refuse(license_id, account_id)
        verdict: Verdict | None = "exceeded"
        # More than the limit at once cannot all open, and would make the other licenses wait.
        if self._opening.get(license_id, 0) < opening.limit:
            self._opening[license_id] += 1
            try:
                verdict = await self._record(opening=opening)
                if verdict == "exceeded" and await self._has_room(license_id):
                    verdict = await self._record(opening=opening)
            except DatabaseBusy:
                raise
            except Unavailable as error:
                self._note_uncounted(license_id, error)
                return
            finally:
                self._opening[license_id] -= 1
                if not self._opening[license_id]:
                    del self._opening[license_id]
        if verdict == "used":
            raise AccessUrlUsed("This client access URL has connected before; negotiate for each connection.")
        if verdict == "exceeded":
            self._full.remember(license_id, opening.limit, account_id)
            self._full.refuse(license_id, account_id)

    def refuse_if_full(self, license_id: str, account_id: str) -> None:
        """Raises ConnectionsExceeded if the license had no room a moment ago; asks nobody."""
        self._full.refuse(license_id, account_id)

    async def close(self, connection_id: str, account_id: str) -> None:
        """Counts a connection no longer. If that fails, a comparison finds out that it has ended."""
        self._full.forget(account_id)
        try:
            await self._record(closed=connection_id)
        except Unavailable as error:
            self._note_failure(error)

    async def reconcile(self) -> int:
        """Compares the licenses that were not compared for long with the service's list.

        Returns how many connections it has forgotten. Raises Unavailable.
        """
        await self._store.prune_used_urls(USED_URL_LIFE_S)
        due = await self._store.unchecked(COMPARED_FOR_S, MAX_COMPARED)
        return sum(await run_for_each(self._compare, due, at_once=COMPARED_AT_ONCE))

    async def _compare(self, license_id: str) -> int:
        """Makes the counts those of the service, and closes what is too many; returns how many had ended."""
        began = self._clock()
        counted = set(await self._store.counted(license_id))
        listed = await self._hub.connections_in(group_of_subject(license_id))
        # One that was counted before may have closed while the service listed it, so it is not added again.
        added = [each for each in listed if each not in counted]
        older_than_s = self._clock() - began + LISTED_AFTER_S
        forgotten = await self._store.compare(license_id, listed, added, older_than_s)
        try:
            await self._close_excess(license_id)
        except Unavailable as error:
            log.warning("connections above the limit of %s stay open for now: %s", license_id, error.internal)
        return forgotten

    async def _close_excess(self, license_id: str) -> None:
        """Closes the youngest connections above the plan's limit, which opened while nobody counted."""
        license_ = await self._licenses.get_license(license_id)
        if license_ is None:
            return
        limit = self._plans.terms_of(license_).connections
        excess = await self._store.excess(license_id, limit)
        if excess:
            log.warning(
                "license %s has more than %d open connections: closing %d", license_id, limit, len(excess)
            )
            close = partial(self._hub.close_connection, reason="connections exceeded")
            await run_for_each(close, excess, at_once=CLOSED_AT_ONCE)

    async def _count_uncounted(self) -> None:
        """Compares the licenses that were let in uncounted; those that fail wait for the next time."""
        due = list(self._uncounted)[:MAX_COMPARED]
        for license_id in due:
            try:
                await self._compare(license_id)
            except Unavailable as error:
                log.warning("uncounted connections stay uncounted for now: %s", error.internal)
                self._count_again_at = self._clock() + COMPARE_EVERY_S
                return
            self._uncounted.pop(license_id, None)

    async def _has_room(self, license_id: str) -> bool:
        """Whether a comparison has found that connections of a full license have ended."""
        running = self._comparing.get(license_id)
        if running is None:
            last = self._compared_at.get(license_id)
            if last is not None and self._clock() - last < COMPARE_EVERY_S:
                return False
            make_room(self._compared_at, MAX_REMEMBERED)
            self._compared_at[license_id] = self._clock()
            running = asyncio.get_running_loop().create_task(self._compare(license_id))
            self._comparing[license_id] = running
            running.add_done_callback(lambda done: self._end_comparison(license_id, done))
        try:
            return await asyncio.shield(running) > 0
        except Unavailable:
            return False

    def _end_comparison(self, license_id: str, done: asyncio.Task[int]) -> None:
        del self._comparing[license_id]
        if not done.cancelled():
            done.exception()  # retrieved, because its callers may have gone

    async def _record(self, *, opening: Opening | None = None, closed: str | None = None) -> Verdict | None:
        if len(self._waiting) >= MAX_WAITING:
            raise DatabaseBusy(
                "Too many clients connect at once. Try again.",
                internal="too many events wait",
                retry_after_s=BUSY_RETRY_AFTER_S,
            )
        loop = asyncio.get_running_loop()
        event = _Event(opening, closed, loop.create_future())
        self._waiting.append(event)
        if self._recording is None:
            self._recording = loop.create_task(self._record_all())
        return await event.done

    async def _record_all(self) -> None:
        """Makes one transaction after another until no event waits."""
        while self._waiting:
            batch = self._waiting[:MAX_EVENTS_PER_TRANSACTION]
            del self._waiting[:MAX_EVENTS_PER_TRANSACTION]
            asked = [event for event in batch if event.opening is not None]
            openings = [event.opening for event in asked if event.opening is not None]
            closed = [event.closed for event in batch if event.closed is not None]
            try:
                verdicts = await self._store.record(openings, closed)
            except Exception as error:  # noqa: BLE001 - each event gets it, because none may wait for ever
                for event in batch:
                    _fail(event, error)
            else:
                self._failing = False
                if self._uncounted and self._counting is None and self._clock() >= self._count_again_at:
                    self._counting = asyncio.get_running_loop().create_task(self._count_uncounted())
                    self._counting.add_done_callback(self._end_counting)
                for event, verdict in zip(asked, verdicts, strict=True):
                    _answer(event, verdict)
                for event in batch:
                    _answer(event, None)
        self._recording = None

    def _end_counting(self, done: asyncio.Task[None]) -> None:
        self._counting = None
        if not done.cancelled():
            done.exception()  # retrieved, because nobody waits for it

    def _note_uncounted(self, license_id: str, error: Unavailable) -> None:
        self._count(Count.CONNECTIONS_UNCOUNTED)
        if license_id not in self._uncounted:
            make_room(self._uncounted, MAX_REMEMBERED)
            self._uncounted[license_id] = None
        self._note_failure(error)

    def _note_failure(self, error: Unavailable) -> None:
        if not self._failing:
            self._failing = True
            log.warning("connections open and close uncounted: %s", error.internal)


def _answer(event: _Event, verdict: Verdict | None) -> None:
    if not event.done.done():
        event.done.set_result(verdict)


def _fail(event: _Event, error: Exception) -> None:
    if event.done.done():
        return
    if isinstance(error, Unavailable):
        # One error per event, because raising an error adds to its traceback.
        error = type(error)(error.detail, internal=error.internal, retry_after_s=error.retry_after_s)
    event.done.set_exception(error)
