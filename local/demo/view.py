"""Shows a running stack to a person: a live view on a terminal, plain lines elsewhere."""

import asyncio
import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local.demo.bots import DemoBot
from local.demo.main_job import MainJob
from local.supervisor import Service

FRAMES_PER_S = 4
PLAIN_PROGRESS_S = 5.0
_COLOURS = {"up": "green", "restarting": "red", "starting": "yellow", "stopped": "dim"}
# The upper half always takes this many rows, so that nothing jumps. Signals and events share the rows that
# a terminal of at least 24 rows has left.
COUNT_ROWS = 9
MAX_SIGNAL_ROWS = 6
MAX_EVENT_ROWS = 10
BORDERS = 2


class View(Protocol):
    """Receives messages of the stack and the job; `signal` is for messages that a live view shows anyway."""

    def say(self, text: str) -> None: ...
    def signal(self, text: str) -> None: ...
    async def show(self, services: Sequence[Service], job: MainJob) -> None: ...


class PlainView:
    """Prints one line an event, and one about progress every few seconds."""

    def say(self, text: str) -> None:
        print(f"{datetime.now():%H:%M:%S} {text}", flush=True)  # noqa: DTZ005 - the reader's own clock

    def signal(self, text: str) -> None:
        self.say(text)

    async def show(self, services: Sequence[Service], job: MainJob) -> None:
        """Prints progress until it is cancelled, or until the job has its summary."""
        while not job.summary:
            await asyncio.sleep(PLAIN_PROGRESS_S)
            if job.replay is None or job.summary:
                continue
            bots = ", ".join(f"{bot.name} {len(bot.received)}/{len(bot.trades)}" for bot in job.bots)
            down = [service.name for service in services if service.state != "up"]
            self.say(
                f"progress: {job.replay.sent} of {job.replay.total} bars, {job.replay.signals} signals; "
                f"signals/trades of {bots}" + (f"; not up: {', '.join(down)}" if down else "")
            )


class LiveView:
    """Redraws services, requests, signals and each bot's trades in place; messages scroll below."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: deque[str] = deque(maxlen=MAX_EVENT_ROWS)
        self._live: Live | None = None
        self._rate = _Rate()

    def say(self, text: str) -> None:
        line = f"{datetime.now():%H:%M:%S} {text}"  # noqa: DTZ005 - the reader's own clock
        self._said.append(line)
        if self._live is None:
            self._console.print(line, highlight=False, markup=False)

    def signal(self, text: str) -> None:
        """Does nothing: signals have a panel of their own."""

    async def show(self, services: Sequence[Service], job: MainJob) -> None:
        """Draws until it is cancelled; leaves the last picture and the whole summary on the terminal."""
        try:
            await self._draw(services, job)
        finally:
            for line in job.summary:
                self._console.print(line, highlight=False, markup=False)

    async def _draw(self, services: Sequence[Service], job: MainJob) -> None:
        # The event loop draws: another thread would read state while the loop changes it.
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
            self._live = live
            try:
                while True:
                    live.update(self.picture(services, job), refresh=True)
                    await asyncio.sleep(1 / FRAMES_PER_S)
            finally:
                live.update(self.picture(services, job), refresh=True)
                self._live = None

    def picture(self, services: Sequence[Service], job: MainJob) -> RenderableType:
        top = Table.grid(expand=True, padding=(0, 1))
        top.add_column(ratio=1)
        top.add_column(ratio=1)
        top.add_row(
            Panel(_services_table(services), title="services", title_align="left"),
            Panel(self._counts_table(job), title="requests", title_align="left"),
        )
        above = max(len(services), COUNT_ROWS) + len(job.bots) + 2 * BORDERS
        spare = self._console.height - 1 - above - 2 * BORDERS
        signal_rows = max(1, min(spare // 2, MAX_SIGNAL_ROWS))
        events = _newest(self._said, max(1, spare - signal_rows), self._console.width - 2 * BORDERS)
        label = f"signals of {job.options.label}"
        return Group(
            top,
            Panel(_signals_table(job.bots, signal_rows), title=label, title_align="left"),
            Panel(_bots_table(job.bots), title="bots (paper trades)", title_align="left"),
            Panel(
                Text("\n".join(events)),
                title="events",
                title_align="left",
                subtitle="Ctrl-C stops everything",
                subtitle_align="right",
            ),
        )

    def _counts_table(self, job: MainJob) -> RenderableType:
        table = _grid(2)
        counts = job.status.get("counts") or {}
        requests, asked = counts.get("requests", 0), counts.get("confidence_asked", 0)
        self._rate.take(requests)
        rows = [
            ("request rate", f"{self._rate.per_s:.0f}/s, {requests:,} in all"),
            ("cache hits", f"{counts.get('confidence_cached', 0):,} of {asked:,} confidences"),
            ("signals", f"{counts.get('signals_published', 0):,}"),
            ("trades", f"{counts.get('trades_recorded', 0):,}"),
        ]
        latency = job.status.get("publish_latency") or {}
        if latency.get("p50_ms") is not None:
            rows.append(("bar to push", f"p50 {latency['p50_ms']:.0f} ms, p99 {latency['p99_ms']:.0f} ms"))
        rows.extend(
            ("model", f"{model['basis']} {model['version'] or model['strategy']}")
            for model in job.status.get("models", [])
        )
        if job.replay is not None:
            replay = job.replay
            rows.append(("replay", f"{replay.sent:,} of {replay.total:,} at {job.options.speed:g}x"))
            if replay.market_time is not None:
                rows.append(("market time", f"{replay.market_time:%Y-%m-%d %H:%M}Z"))
        for title, value in rows:
            table.add_row(title, _cut(value))
        return table


class _Rate:
    """Requests a second from a counter that is read more often than it changes."""

    def __init__(self) -> None:
        self._last = (0, time.monotonic())
        self.per_s = 0.0

    def take(self, count: int) -> None:
        before, at = self._last
        now = time.monotonic()
        if count != before:
            self.per_s = max(0.0, (count - before) / max(now - at, 1e-6))
            self._last = (count, now)
        elif now - at > 3:
            self.per_s = 0.0


def _grid(columns: int) -> Table:
    """Every row stays one line: a narrow terminal cuts the last column, which `_cut` makes."""
    table = Table.grid(padding=(0, 2))
    for column in range(columns):
        table.add_column(no_wrap=column < columns - 1, overflow="ellipsis")
    return table


def _cut(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _newest(said: Sequence[str], rows: int, width: int) -> list[str]:
    """The last messages that fit in `rows` lines of `width`, and always the very last."""
    shown: list[str] = []
    for text in reversed(said):
        rows -= max(1, math.ceil(len(text) / width))
        if rows < 0 and shown:
            break
        shown.insert(0, text)
    return shown


def _services_table(services: Sequence[Service]) -> RenderableType:
    table = _grid(4)
    for service in services:
        table.add_row(
            service.name,
            Text(service.state, style=_COLOURS.get(service.state, "")),
            f"port {service.port}" if service.port else "",
            _cut(f"restarted {service.restarts}x" if service.restarts else f"{service.started_ms} ms"),
        )
    return table


def _signals_table(bots: Sequence[DemoBot], rows: int) -> RenderableType:
    if not bots or not bots[0].recent:
        return Text("none yet", style="dim")
    table = _grid(6)
    for event in list(bots[0].recent)[-rows:]:
        simulated = "SIMULATED" if event["source"] == "simulated" else event["source"]
        side = Text(event["side"], style="green" if event["side"] == "LONG" else "red")
        number = f"#{event['sequence']}"
        table.add_row(simulated, event["symbol"], number, side, str(event["price"]), _cut(event["event_at"]))
    return table


def _bots_table(bots: Sequence[DemoBot]) -> RenderableType:
    table = _grid(7)
    for bot in bots:
        status: dict[str, Any] = bot.status
        last = next(reversed(bot.trades.values()), None)
        table.add_row(
            bot.name,
            f"{len(bot.received)} signals",
            f"{len(bot.trades)} trades",
            f"{len(bot.reported)} stored",
            f"{status.get('open', 0)} open",
            f"net pnl {status.get('net_pnl', '0')} USD",
            _cut(f"last {last['side']} {last['entry_price']} to {last['exit_price']}" if last else ""),
        )
    return table


def make_view() -> View:
    return LiveView(Console()) if sys.stdout.isatty() else PlainView()
