"""Readiness is the worst of its checks, asked once a second at most."""

import asyncio

from shared.errors import CacheUnavailable
from shared.services.health import Check, Finding, ReadinessService


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
