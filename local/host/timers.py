"""Runs the app's timer triggers, each on its own schedule, in one process.

On Azure a timer runs inside a function worker. Here they run apart from HTTP, because that is what
the plan we deploy to does: Flex Consumption scales all HTTP functions as one group and each timer
apart, so a timer never shares a process with a request, and WORKERS=n must not run a timer n times.

As on the platform: one run at a time for each timer; the next firing is counted from the start of
the run before, so a run that overruns its schedule is followed by one late run, never by a queue of
them; a failure is logged and does not touch the schedule; a retry policy holds the timer until it
has run out. `past_due` is true for a run that starts late; the platform sets it for the first run
after a stop only, from stored times that this host does not keep.

A run that exceeds functionTimeout is cancelled. A sync function cannot be, nor one that ignores it:
then the process is replaced, as the platform replaces its worker.
"""

import asyncio
import logging
import random
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from azure.functions.timer import TimerRequest  # the class that the worker makes, with the schedule

from local.host.context import InvocationContext, InvocationError, InvocationRetry
from local.host.indexing import RetryPolicy, Timer
from local.host.invoking import invoke
from local.host.supervisor import on_stop_request
from local.supervisor import EXIT_RESTART

logger = logging.getLogger("local.host.timers")

# A run counts as late from here on; below it is the scheduling noise of a busy machine.
LATE_AFTER = timedelta(seconds=1)
# Long waits are cut so that a step of the wall clock is noticed.
_LONGEST_WAIT_S = 30.0
_CANCEL_GRACE_S = 5.0
# The platform spreads exponential delays by a fifth, so that failing instances drift apart.
_JITTER = 0.2


class FunctionStuck(Exception):
    """A function passed its timeout and could not be cancelled: only a new process helps."""


class TimerLoop:
    """One timer: waits for its schedule, runs it, again until `stopping` is set."""

    def __init__(
        self,
        timer: Timer,
        pool: ThreadPoolExecutor,
        run_limit: timedelta | None,
        stopping: asyncio.Event,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._timer = timer
        self._pool = pool
        self._timeout_s = run_limit.total_seconds() if run_limit is not None else None
        self._stopping = stopping
        self._now = now
        self._last_start: datetime | None = None

    async def run(self) -> None:
        """Returns when `stopping` is set; raises FunctionStuck."""
        schedule = self._timer.schedule
        started = self._now()
        if self._timer.run_on_startup:
            await self._run_once(started, past_due=False)
        while not self._stopping.is_set():
            due = schedule.next_after(started)
            if due is None:
                logger.warning("Timer %s never fires: %s", self._timer.function.name, self._timer.expression)
                await self._stopping.wait()
                return
            await self._wait_until(due)
            if self._stopping.is_set():
                return
            started = self._now()
            late = started - due > LATE_AFTER
            if late:
                logger.info(
                    "Timer %s runs %.1f s late", self._timer.function.name, (started - due).total_seconds()
                )
            await self._run_once(started, past_due=late)

    async def _wait_until(self, due: datetime) -> None:
        while (remaining_s := (due - self._now()).total_seconds()) > 0:
            if await self._stopped_within(min(remaining_s, _LONGEST_WAIT_S)):
                return

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _run_once(self, started: datetime, *, past_due: bool) -> None:
        """One firing with its retries."""
        following = self._timer.schedule.next_after(started)
        request = TimerRequest(
            past_due=past_due,
            schedule={"AdjustForDST": True},
            schedule_status={
                "Last": (self._last_start or datetime.min.replace(tzinfo=UTC)).isoformat(),
                "Next": (following or datetime.max.replace(tzinfo=UTC)).isoformat(),
                "LastUpdated": started.isoformat(),
            },
        )
        self._last_start = started
        policy = self._timer.retry
        attempt = 0
        failure = await self._attempt(request, attempt, None)
        while failure is not None and policy is not None and attempt != policy.max_retries:
            jitter = random.uniform(-_JITTER, _JITTER)  # noqa: S311 - spreads load, guards nothing
            if await self._stopped_within(retry_delay_s(policy, attempt, jitter)):
                return
            attempt += 1
            failure = await self._attempt(request, attempt, failure)

    async def _attempt(
        self, request: TimerRequest, attempt: int, before: InvocationError | None
    ) -> InvocationError | None:
        """One call of the function; what went wrong, or None."""
        function, policy = self._timer.function, self._timer.retry
        context = InvocationContext(
            function.name,
            function.directory,
            retry_context=InvocationRetry(attempt, policy.max_retries if policy else 0, before),
        )
        running = asyncio.ensure_future(invoke(function, request, context, self._pool))
        done, _ = await asyncio.wait((running,), timeout=self._timeout_s)
        if not done:
            await self._give_up(running)
            return None
        if running.cancelled():
            logger.error("Timer %s cancelled itself (invocation %s)", function.name, context.invocation_id)
            return InvocationError(function.name, "", "cancelled")
        error = running.exception()
        if error is None:
            return None
        logger.error(
            "Timer %s failed (invocation %s, attempt %d)",
            function.name,
            context.invocation_id,
            attempt + 1,
            exc_info=error,
        )
        return InvocationError(function.name, "".join(traceback.format_exception(error)), str(error))

    async def _give_up(self, running: asyncio.Future[object]) -> None:
        """Cancels a run that passed its timeout; raises FunctionStuck when it goes on regardless."""
        name = self._timer.function.name
        logger.error("Timer %s passed its timeout of %s s and is cancelled", name, self._timeout_s)
        running.cancel()
        if self._timer.function.is_async:
            done, _ = await asyncio.wait((running,), timeout=_CANCEL_GRACE_S)
            if done:
                return
        raise FunctionStuck(name)


def retry_delay_s(policy: RetryPolicy, attempt: int, jitter: float) -> float:
    """Seconds to wait after failed attempt `attempt` (from 0); `jitter` is a share, -0.2 to 0.2."""
    if not policy.exponential:
        return policy.minimum.total_seconds()
    # Past 2**30 the maximum has long been reached.
    doubled_s = policy.minimum.total_seconds() * float(2 ** min(attempt, 30)) * (1 + jitter)
    return min(max(doubled_s, policy.minimum.total_seconds()), policy.maximum.total_seconds())


async def run_timers(timers: Sequence[Timer], run_limit: timedelta | None, pool: ThreadPoolExecutor) -> int:
    """Runs every timer until the process is told to stop; the exit code for the process."""
    stopping = asyncio.Event()
    on_stop_request(asyncio.get_running_loop(), stopping.set)
    code = 0
    try:
        async with asyncio.TaskGroup() as group:
            for timer in timers:
                group.create_task(TimerLoop(timer, pool, run_limit, stopping).run(), name=timer.function.name)
            await stopping.wait()
    except* FunctionStuck as stuck:
        names = ", ".join(str(error) for error in stuck.exceptions)
        logger.error("Starting over because of %s", names)  # noqa: TRY400 - raised by us, no trace to show
        code = EXIT_RESTART
    return code
