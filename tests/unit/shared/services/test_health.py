"""Readiness is the worst of its checks, asked once a second at most."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import FeedState
from shared.domain.market.feeds import ClockSource
from shared.errors import CacheUnavailable, DatabaseUnavailable, SignalCloudError
from shared.services import health
from shared.services.health import (
    Check,
    DependencyChecks,
    Finding,
    Health,
    Readiness,
    ReadinessService,
    misconfigured,
)
from shared.services.market_clock import MarketClock


class Probe:
    def __init__(self, finding: Finding | None = None, error: Exception | None = None) -> None:
        self.finding, self.error, self.asked = finding, error, 0

    async def __call__(self) -> Finding | None:
        self.asked += 1
        if self.error:
            raise self.error
        return self.finding


async def test_all_pass() -> None:
    readiness = await ReadinessService({"database": Check(Probe(), "fail")}).readiness()
    assert readiness.status == "pass"
    assert readiness.checks["database"].latency_ms >= 0


async def test_each_dependency_is_as_bad_as_it_says() -> None:
    away = CacheUnavailable("The cache cannot be reached.", internal="secret host name")
    checks = {"database": Check(Probe(), "fail"), "cache": Check(Probe(error=away), "warn")}
    readiness = await ReadinessService(checks).readiness()
    assert (readiness.status, readiness.checks["cache"].detail) == ("warn", "The cache cannot be reached.")
    checks["database"] = Check(Probe(error=away), "fail")
    assert (await ReadinessService(checks).readiness()).status == "fail"


async def test_a_finding_says_what_is_wrong_without_raising() -> None:
    stale = Probe(Finding("warn", "ES is stale"))
    readiness = await ReadinessService({"feeds": Check(stale, "fail")}).readiness()
    assert (readiness.status, readiness.checks["feeds"].detail) == ("warn", "ES is stale")


async def test_many_askers_cost_one_question() -> None:
    probe = Probe()
    service = ReadinessService({"database": Check(probe, "fail")})
    await asyncio.gather(*(service.readiness() for _ in range(50)))
    assert probe.asked == 1


async def test_it_is_asked_again_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe()
    service = ReadinessService({"database": Check(probe, "fail")})
    await service.readiness()
    await service.readiness()
    assert probe.asked == 1
    monkeypatch.setattr(health, "HOLD_S", -1.0)
    await service.readiness()
    assert probe.asked == 2


async def test_an_asker_that_goes_away_takes_nobody_with_it() -> None:
    service = ReadinessService({"database": Check(Probe(), "fail")})
    gone = asyncio.create_task(service.readiness())
    await asyncio.sleep(0)
    stays = asyncio.create_task(service.readiness())
    gone.cancel()
    assert (await stays).status == "pass"


@pytest.mark.parametrize("status", ["warn", "fail"])
async def test_who_does_not_answer_in_time_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, status: Health
) -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 0.01)
    readiness = await ReadinessService({"cache": Check(hangs, status)}).readiness()
    assert readiness.status == status
    assert readiness.checks["cache"].detail == "no answer within 0.01 s"
    assert 5 <= readiness.checks["cache"].latency_ms < 5_000


@pytest.mark.parametrize("status", ["warn", "fail"])
async def test_a_check_that_is_broken_is_logged_and_hides_nothing(
    caplog: pytest.LogCaptureFixture, status: Health
) -> None:
    checks = {"cache": Check(Probe(error=KeyError("secret")), status), "database": Check(Probe(), "fail")}
    readiness = await ReadinessService(checks).readiness()
    assert (readiness.status, readiness.checks["database"].status) == (status, "pass")
    assert readiness.checks["cache"].detail == "this check is broken; see the log"
    assert "secret" in caplog.text


def test_the_worst_check_decides_and_a_misconfigured_process_fails() -> None:
    told = misconfigured("X is not set")
    assert msgspec.to_builtins(told) == {
        "status": "fail",
        "checks": {"settings": {"status": "fail", "latency_ms": 0.0, "detail": "X is not set"}},
    }


NOW = datetime(2025, 10, 14, 14, 6, tzinfo=UTC)


class Dependency:
    """Anything that is asked; away while `error` is set."""

    def __init__(self) -> None:
        self.error: SignalCloudError | None = None
        self.outbox = (0, 0.0)
        self.states = [FeedState("ES", NOW - timedelta(minutes=1), NOW, "live")]
        self.missing: list[str] = []
        self.migrations_error: SignalCloudError | None = None

    def _answer(self) -> None:
        if self.error is not None:
            raise self.error

    async def ping(self) -> float:
        self._answer()
        return 0.1

    async def depth(self) -> tuple[int, float]:
        self._answer()
        return self.outbox

    async def feeds(self) -> list[FeedState]:
        self._answer()
        return self.states

    async def pending_migrations(self) -> list[str]:
        self._answer()
        if self.migrations_error is not None:
            raise self.migrations_error
        return self.missing


class Deployment:
    """Every dependency of the checks, by the name of its check."""

    def __init__(self, clock_source: ClockSource = "wall") -> None:
        self.now = NOW
        self.of = {name: Dependency() for name in CHECKS}
        self.database = self.of["database"]
        self.clock_source: ClockSource = clock_source

    async def readiness(self) -> Readiness:
        checks = DependencyChecks(
            database=self.database,
            key_store=self.of["key_store"],
            cache=self.of["cache"],
            hub=self.of["realtime"],
            outbox=self.of["outbox"],
            feeds=self.of["feeds"],
            calendars=market_calendars(),
            market_clock=MarketClock(self.clock_source, self.of["feeds"], lambda: self.now),
            now=lambda: self.now,
        )
        return await ReadinessService(checks.checks()).readiness()

    async def found(self, name: str) -> tuple[str, str]:
        """Status and detail of one check, while all others pass."""
        readiness = await self.readiness()
        others = {key: check.status for key, check in readiness.checks.items() if key != name}
        assert set(others.values()) == {"pass"}
        assert readiness.status == readiness.checks[name].status
        return readiness.checks[name].status, readiness.checks[name].detail


CHECKS = ("database", "key_store", "cache", "realtime", "outbox", "feeds", "calendar")


async def test_every_dependency_is_asked() -> None:
    readiness = await Deployment().readiness()
    assert tuple(readiness.checks) == CHECKS
    assert readiness.status == "pass"
    assert {check.detail for check in readiness.checks.values()} == {""}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("database", "fail"),
        ("key_store", "fail"),
        ("cache", "warn"),
        ("realtime", "warn"),
        ("outbox", "fail"),
        ("feeds", "fail"),
    ],
)
async def test_a_dependency_that_is_unavailable_is_as_bad_as_what_needs_it(name: str, status: str) -> None:
    deployment = Deployment()
    deployment.of[name].error = DatabaseUnavailable("It cannot be reached.", internal="10.0.0.7")
    assert await deployment.found(name) == (status, "It cannot be reached.")


async def test_migrations_that_are_missing_or_unknown_fail_the_database() -> None:
    deployment = Deployment()
    deployment.database.missing = ["0007_a", "0008_b"]
    assert await deployment.found("database") == ("fail", "migrations missing: 0007_a, 0008_b")
    deployment.database.migrations_error = DatabaseUnavailable("They cannot be read.")
    assert await deployment.found("database") == ("fail", "They cannot be read.")


@pytest.mark.parametrize(("oldest_s", "status"), [(0.0, "pass"), (30.0, "pass"), (30.5, "warn")])
async def test_messages_that_wait_too_long_are_a_warning(oldest_s: float, status: str) -> None:
    deployment = Deployment()
    deployment.of["outbox"].outbox = (3, oldest_s)
    told = "" if status == "pass" else "3 messages wait to be sent, the oldest for 30 s"
    assert await deployment.found("outbox") == (status, told)


async def test_stale_feeds_are_named_and_no_feed_at_all_is_told() -> None:
    deployment = Deployment()
    deployment.of["feeds"].states += [
        FeedState("NQ", NOW - timedelta(minutes=7), NOW, "live"),
        FeedState("CL", NOW - timedelta(minutes=8), NOW, "live"),
    ]
    told = "no signals, stale bars: NQ for 360 s, CL for 420 s"
    assert await deployment.found("feeds") == ("warn", told)
    deployment.of["feeds"].states = []
    assert await deployment.found("feeds") == ("warn", "no bars were ever received")


async def test_a_replay_is_judged_by_its_own_time() -> None:
    deployment = Deployment("bars")
    deployment.of["feeds"].states = [FeedState("ES", NOW - timedelta(minutes=90), NOW, "replay")]
    assert await deployment.found("feeds") == ("pass", "")


@pytest.mark.parametrize(("days", "status"), [(60, "pass"), (59, "warn"), (0, "warn"), (-1, "warn")])
async def test_a_calendar_that_ends_soon_is_a_warning(days: int, status: str) -> None:
    deployment = Deployment("bars")
    last = deployment.now.date() + timedelta(days=market_calendars().days_left(deployment.now.date()))
    deployment.now = datetime.combine(last - timedelta(days=days), deployment.now.timetz())
    told = "" if status == "pass" else f"the market calendar ends in {days} days"
    assert await deployment.found("calendar") == (status, told)
