"""Counts the open connections of each license exactly, over all processes, and enforces the plan's limit.

Postgres holds the counts. One transaction of a process is under way at a time; events that arrive during it
share the next one. So however many clients connect at once, they use one database connection of the process.

Reports of ended connections can get lost. So a timer compares the counts with the service's own list, and a
license that seems to be full is compared at once, before a client is refused.

If Postgres is unavailable, the limit opens: clients connect uncounted, and their URLs may connect twice. That
is counted and logged. The next comparison counts the connections that opened without being counted.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from shared.domain.access.client_access import ACCESS_URL_LIFETIME, group_of_subject
from shared.domain.access.connections import Opening, Verdict
from shared.errors import AccessUrlUsed, ConnectionsExceeded, DatabaseUnavailable, Unavailable
from shared.metrics import Count, Counter
from shared.services.bounded import make_room
from shared.services.concurrency import run_for_each

# Bounds the time of one transaction; each opening adds about 20 us to it.
MAX_EVENTS_PER_TRANSACTION = 256
# More events than this many wait only if Postgres is too slow; they pass uncounted.
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
RETRY_AFTER_S = 10
LOG_EVERY_S = 60.0
MAX_REMEMBERED = 10_000

log = logging.getLogger(__name__)


class ConnectionStore(Protocol):
    async def record(self, openings: Sequence[Opening], closed: Sequence[str]) -> list[Verdict]: ...
    async def unchecked(self, older_than_s: float, limit: int) -> list[str]: ...
    async def counted(self, license_id: str) -> list[str]: ...
    async def compare(
        self, license_id: str, listed: Collection[str], added: Collection[str], older_than_s: float
    ) -> int: ...
    async def prune_used_urls(self, older_than_s: float) -> int: ...


class ConnectionLister(Protocol):
    async def connections_in(self, group: str) -> list[str]: ...


class _Event(msgspec.Struct):
    """A connection that wants to open, or the id of one that has closed; `done` gets the verdict."""

    opening: Opening | None
    closed: str | None
    done: asyncio.Future[Verdict | None]


class _Refusals(msgspec.Struct):
    """What was logged of a license's refused connections: when, and how many since."""

    logged_at: float
    count: int = 0


class Presence:
    """The connections of one event loop's process; `clock` returns seconds, monotonic."""

    def __init__(
        self,
        *,
        store: ConnectionStore,
        hub: ConnectionLister,
        clock: Callable[[], float],
        count: Counter,
    ) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._count = count
        self._waiting: list[_Event] = []
        self._recording: asyncio.Task[None] | None = None
        self._opening: defaultdict[str, int] = defaultdict(int)
        self._compared_at: dict[str, float] = {}
        self._comparing: dict[str, asyncio.Task[int]] = {}
        self._refusals: dict[str, _Refusals] = {}
        self._failing = False

    async def open(self, opening: Opening, account_id: str) -> None:
        """Counts a connection before it opens. Raises AccessUrlUsed and ConnectionsExceeded."""
        license_id = opening.license_id
        verdict: Verdict | None = "exceeded"
        # More than the limit at once cannot all open, and would make the other licenses wait.
        if self._opening.get(license_id, 0) < opening.limit:
            self._opening[license_id] += 1
            try:
                verdict = await self._record(opening=opening)
                if verdict == "exceeded" and await self._has_room(license_id):
                    verdict = await self._record(opening=opening)
            except Unavailable as error:
                self._count(Count.CONNECTIONS_UNCOUNTED)
                self._note_failure(error)
                return
            finally:
                self._opening[license_id] -= 1
                if not self._opening[license_id]:
                    del self._opening[license_id]
        if verdict == "used":
            raise AccessUrlUsed("This client access URL has connected before; negotiate for each connection.")
        if verdict == "exceeded":
            self._note_refusal(opening, account_id)
            raise ConnectionsExceeded(
                f"The license has {opening.limit} open connections, as many as its plan allows: close one.",
                retry_after_s=RETRY_AFTER_S,
            )

    async def close(self, connection_id: str) -> None:
        """Counts a connection no longer. If that fails, a comparison finds out that it has ended."""
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
        began = self._clock()
        counted = set(await self._store.counted(license_id))
        listed = await self._hub.connections_in(group_of_subject(license_id))
        # One that was counted before may have closed while the service listed it, so it is not added again.
        added = [each for each in listed if each not in counted]
        return await self._store.compare(license_id, listed, added, self._clock() - began + LISTED_AFTER_S)

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
            raise DatabaseUnavailable("Too many connections open at once.", internal="too many events wait")
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
                for event, verdict in zip(asked, verdicts, strict=True):
                    _answer(event, verdict)
                for event in batch:
                    _answer(event, None)
        self._recording = None

    def _note_failure(self, error: Unavailable) -> None:
        if not self._failing:
            self._failing = True
            log.warning("connections open and close uncounted: %s", error.internal)

    def _note_refusal(self, opening: Opening, account_id: str) -> None:
        """Counts the refusal, and logs those of a license at most once a minute."""
        self._count(Count.CONNECTIONS_EXCEEDED)
        now = self._clock()
        known = self._refusals.get(opening.license_id)
        if known is not None and now - known.logged_at < LOG_EVERY_S:
            known.count += 1
            return
        log.warning(
            "a connection of account %s is refused: license %s has %d open; %d more were refused since the "
            "last such line",
            *(account_id, opening.license_id, opening.limit, known.count if known is not None else 0),
        )
        make_room(self._refusals, MAX_REMEMBERED)
        self._refusals[opening.license_id] = _Refusals(now)


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
