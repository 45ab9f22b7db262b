"""Asks each dependency, within a bound, and reports it as pass, warn or fail."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal, Protocol

import msgspec

from shared.domain.market.bars import FeedState
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.feeds import feed_states
from shared.errors import SignalCloudError
from shared.services.market_clock import MarketClock

# The relay runs every few seconds: an older message is not just waiting for the next run.
MAX_OUTBOX_AGE_S = 30.0
MIN_CALENDAR_DAYS = 60
CHECK_TIMEOUT_S = 2.0
# The route is public, so the dependencies are checked at most once in this time.
HOLD_S = 1.0

log = logging.getLogger(__name__)

Health = Literal["pass", "warn", "fail"]
_WORSE: dict[Health, int] = {"pass": 0, "warn": 1, "fail": 2}


class Finding(msgspec.Struct, frozen=True):
    """What a probe found beyond being reachable."""

    status: Health = "pass"
    detail: str = ""


class Check(msgspec.Struct, frozen=True):
    """A probe, and how bad it is when it raises: `fail` if no request can be served without it."""

    probe: Callable[[], Awaitable[Finding | None]]
    if_unavailable: Health


class CheckReport(msgspec.Struct, frozen=True, omit_defaults=True):
    status: Health
    latency_ms: float
    detail: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """The worst of all checks, and each of them."""

    status: Health
    checks: dict[str, CheckReport]


def misconfigured(detail: str) -> Readiness:
    """The readiness of a process whose settings are wrong, so that no dependency can be checked."""
    return Readiness("fail", {"settings": CheckReport("fail", 0.0, detail)})


class ReadinessService:
    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._held: tuple[float, asyncio.Task[Readiness]] | None = None

    async def readiness(self) -> Readiness:
        """The state of every dependency, at most a second old; never raises."""
        now = time.monotonic()
        if self._held is None or now - self._held[0] > HOLD_S:
            self._held = (now, asyncio.get_running_loop().create_task(self._ask_all()))
        return await asyncio.shield(self._held[1])

    async def _ask_all(self) -> Readiness:
        reports = await asyncio.gather(*(self._ask(check) for check in self._checks.values()))
        checks = dict(zip(self._checks, reports, strict=True))
        statuses: list[Health] = [report.status for report in reports]
        return Readiness(max(statuses, key=_WORSE.__getitem__), checks)

    @staticmethod
    async def _ask(check: Check) -> CheckReport:
        start = time.monotonic()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                finding = await check.probe() or Finding()
        except TimeoutError:
            finding = Finding(check.if_unavailable, f"no answer within {CHECK_TIMEOUT_S:g} s")
        except SignalCloudError as error:
            finding = Finding(check.if_unavailable, error.detail)
        except Exception:
            # A defect in one check must not hide the results of the others.
            log.exception("a readiness check is broken")
            finding = Finding(check.if_unavailable, "this check is broken; see the log")
        return CheckReport(finding.status, round((time.monotonic() - start) * 1000, 2), finding.detail)


class Pingable(Protocol):
    async def ping(self) -> object: ...


class Database(Pingable, Protocol):
    async def pending_migrations(self) -> Sequence[str]: ...


class Outbox(Protocol):
    async def depth(self) -> tuple[int, float]: ...


class Feeds(Protocol):
    async def feeds(self) -> list[FeedState]: ...


class DependencyChecks:
    """The checks that decide whether this deployment is ready."""

    def __init__(
        self,
        *,
        database: Database,
        key_store: Pingable,
        cache: Pingable,
        hub: Pingable,
        outbox: Outbox,
        feeds: Feeds,
        calendars: MarketCalendars,
        market_clock: MarketClock,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._key_store = key_store
        self._cache = cache
        self._hub = hub
        self._outbox = outbox
        self._feeds = feeds
        self._calendars = calendars
        self._market_clock = market_clock
        self._now = now

    def checks(self) -> dict[str, Check]:
        """The check of each dependency, by public name. If a probe raises, its dependency is unavailable."""
        return {
            "database": Check(self._check_database, "fail"),
            "key_store": Check(partial(_ping, self._key_store), "fail"),
            "cache": Check(partial(_ping, self._cache), "warn"),
            "realtime": Check(partial(_ping, self._hub), "warn"),
            "outbox": Check(self._check_outbox, "fail"),
            "feeds": Check(self._check_feeds, "fail"),
            "calendar": Check(self._check_calendar, "warn"),
        }

    async def _check_database(self) -> Finding | None:
        await self._database.ping()
        missing = await self._database.pending_migrations()
        return Finding("fail", f"migrations missing: {', '.join(missing)}") if missing else None

    async def _check_outbox(self) -> Finding | None:
        depth, oldest_s = await self._outbox.depth()
        if oldest_s <= MAX_OUTBOX_AGE_S:
            return None
        return Finding("warn", f"{depth} messages wait to be sent, the oldest for {oldest_s:.0f} s")

    async def _check_feeds(self) -> Finding | None:
        feeds = await self._feeds.feeds()
        if not feeds:
            return Finding("warn", "no bars were ever received")
        states = feed_states(feeds, self._calendars, self._market_clock.judging(feeds))
        stale = [f"{feed.symbol} for {feed.age_s:.0f} s" for feed in states if feed.state == "stale"]
        return Finding("warn", f"no signals, stale bars: {', '.join(stale)}") if stale else None

    async def _check_calendar(self) -> Finding | None:
        days = self._calendars.days_left(self._now().date())
        if days >= MIN_CALENDAR_DAYS:
            return None
        return Finding("warn", f"the market calendar ends in {days} days")


async def _ping(dependency: Pingable) -> None:
    await dependency.ping()
