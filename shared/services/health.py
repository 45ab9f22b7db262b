"""Readiness: each dependency asked, within a bound, and told as pass, warn or fail."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec

from shared.errors import SignalCloudError

log = logging.getLogger(__name__)

CHECK_TIMEOUT_S = 2.0
# Anyone may ask: however often they do, the dependencies are asked once in this time.
HOLD_S = 1.0

Health = Literal["pass", "warn", "fail"]
_WORSE: dict[Health, int] = {"pass": 0, "warn": 1, "fail": 2}


class Finding(msgspec.Struct, frozen=True):
    """What a probe found beyond being reachable."""

    status: Health = "pass"
    detail: str = ""


class Check(msgspec.Struct, frozen=True):
    """A probe, and how bad it is when it raises: `fail` where no request can be served without it."""

    probe: Callable[[], Awaitable[Finding | None]]
    when_away: Health


class CheckReport(msgspec.Struct, frozen=True, omit_defaults=True):
    status: Health
    latency_ms: float
    detail: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """The worst of all checks, and each of them."""

    status: Health
    checks: dict[str, CheckReport]


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
            finding = Finding(check.when_away, f"no answer within {CHECK_TIMEOUT_S:g} s")
        except SignalCloudError as error:
            finding = Finding(check.when_away, error.detail)
        except Exception:
            # A defect in one check must not hide what the others found.
            log.exception("a readiness check is broken")
            finding = Finding(check.when_away, "this check is broken; see the log")
        return CheckReport(finding.status, round((time.monotonic() - start) * 1000, 2), finding.detail)
