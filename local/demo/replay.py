"""Sends the bars of a file to `POST /api/bars`, at a multiple of real time.

A bar is due every 60 / SPEED seconds; closed hours have no bars and take no time. The schedule follows the
wall clock: bars that fall due while the API is unavailable are sent together when it answers again, as a
feed that catches up would send them.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import httpx
import msgspec

from shared.domain.market.bars import Bar, Source

MAX_BATCH = 500
# Reasons of one request that the user hears.
MAX_TOLD = 3
TIMEOUT_S = 10.0
MAX_BACKOFF_S = 2.0


class ReplayRefused(Exception):
    """The API refuses the bars; the text holds its answer."""


class Replay:
    """One replay of `bars` (oldest first); safe to repeat, because the API skips a bar that it has."""

    def __init__(
        self,
        bars: Sequence[Bar],
        *,
        symbol: str,
        source: Source,
        speed: float,
        base_url: str,
        key: str,
        say: Callable[[str], None],
    ) -> None:
        self._bars = bars
        self._symbol = symbol
        self._source = source
        self._bars_per_s = speed / 60
        self._base_url = base_url
        self._key = key
        self._say = say
        self.sent = 0
        self.signals = 0
        self.lasted_s = 0.0

    @property
    def total(self) -> int:
        return len(self._bars)

    @property
    def market_time(self) -> datetime | None:
        return self._bars[self.sent - 1].close_time if self.sent else None

    async def run(self) -> None:
        """Returns when the API has acknowledged the last bar; raises ReplayRefused."""
        started = time.monotonic()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(base_url=self._base_url, headers=headers, timeout=TIMEOUT_S) as client:
            while self.sent < len(self._bars):
                due = int((time.monotonic() - started) * self._bars_per_s) + 1
                end = min(due, self.sent + MAX_BATCH, len(self._bars))
                if end <= self.sent:
                    await asyncio.sleep(self.sent / self._bars_per_s - (time.monotonic() - started))
                    continue
                self.signals += await self._post(client, self._bars[self.sent : end])
                self.sent = end
        self.lasted_s = time.monotonic() - started

    async def _post(self, client: httpx.AsyncClient, bars: Sequence[Bar]) -> int:
        """How many signals the bars made. Waits while the API is unavailable."""
        body = msgspec.json.encode({"symbol": self._symbol, "source": self._source, "bars": bars})
        unavailable_since: float | None = None
        attempt = 0
        while True:
            try:
                answer = await client.post("/api/bars", content=body)
            except httpx.TransportError as error:
                problem, wait_s = type(error).__name__, 0.0
            else:
                if answer.is_success:
                    if unavailable_since is not None:
                        waited_s = time.monotonic() - unavailable_since
                        self._say(f"replay: the API takes bars again after {waited_s:.1f} s")
                    report = answer.json()
                    self._tell_refused([each["message"] for each in report["refused"]])
                    return len(report["signals"])
                if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY and self.sent:
                    # Bars before these were accepted, so the file is right and these bars are not.
                    self._tell_refused(
                        [f"{each['field']}: {each['message']}" for each in answer.json()["errors"]]
                    )
                    return 0
                if answer.status_code != httpx.codes.TOO_MANY_REQUESTS and not answer.is_server_error:
                    raise ReplayRefused(f"POST /api/bars answered {answer.status_code}: {answer.text[:500]}")
                problem, wait_s = str(answer.status_code), _retry_after_s(answer)
            if unavailable_since is None:
                unavailable_since = time.monotonic()
                self._say(f"replay: the API does not take bars ({problem}); trying again until it does")
            backoff_s = min(0.05 * 2 ** min(attempt, 10), MAX_BACKOFF_S)
            attempt += 1
            await asyncio.sleep(max(wait_s, backoff_s * random.uniform(0.5, 1)))  # noqa: S311 - jitter

    def _tell_refused(self, reasons: Sequence[str]) -> None:
        for reason in reasons[:MAX_TOLD]:
            self._say(f"replay: the API refused a bar: {reason}")


def _retry_after_s(answer: httpx.Response) -> float:
    try:
        return float(answer.headers.get("Retry-After", "0"))
    except ValueError:
        return 0.0
