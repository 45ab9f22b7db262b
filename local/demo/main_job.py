"""Runs the main job: replays bars, lets three bots trade the signals, and compares their accounts."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from local.demo.bar_files.writing import write_bars
from local.demo.bots import BotMarket, DemoBot, differences
from local.demo.options import ReplayOptions
from local.demo.replay import Replay
from local.demo.replay_bars import SYMBOL
from local.stack.stack import Stack
from shared.domain.market.bars import Bar

SETTLE_TIMEOUT_S = 120.0
LISTEN_EVERY_S = 0.1
WATCH_EVERY_S = 1.0
PAGE = 500


class JobFailed(Exception):
    """The job cannot be done; the text says why."""


class MainJob:
    """One job. The view shows its replay, its bots, the last status answer, and its summary."""

    def __init__(
        self,
        options: ReplayOptions,
        bars: Sequence[Bar],
        stack: Stack,
        logs: Path,
        *,
        say: Callable[[str], None],
        say_signal: Callable[[str], None],
    ) -> None:
        self.options = options
        self._bars = bars
        self.replay: Replay | None = None
        self.bots: list[DemoBot] = []
        self.status: dict[str, Any] = {}
        self.summary: list[str] = []
        self._stack = stack
        self._logs = logs
        self._say = say
        self._say_signal = say_signal

    async def run(self) -> bool:
        """Replays all bars, waits for the bots to settle, and returns whether all accounts are equal."""
        keys = self._stack.keys
        assert keys is not None
        options, bars = self.options, self._bars
        # The bots read our own format alone, as their users' bars would be.
        bots_bars = self._logs / "bars.csv.gz"
        await asyncio.to_thread(write_bars, bots_bars, bars)
        self.bots = [
            DemoBot(f"bot-{number}", key, self._logs / f"bot-{number}.log")
            for number, key in enumerate(keys.demo_bots, start=1)
        ]
        # A trade may close with the last bar, at the very end of its month.
        await self._stack.ensure_trade_months(bars[0].open_time, bars[-1].close_time)
        market = BotMarket(bots_bars, SYMBOL, options.speed)
        async with httpx.AsyncClient(base_url=self._stack.base_url, timeout=10.0) as client:
            before = (await _ask(client, keys.demo_bots[0], "signals", symbol=SYMBOL, limit=1))[
                "last_sequence"
            ]
            await self._stack.supervise(
                *(bot.service(self._stack.base_url, [SYMBOL], market) for bot in self.bots)
            )
            self._say(f"replay of {len(bars)} bars of {options.label} at {options.speed:g} times real time")
            self.replay = Replay(
                bars,
                symbol=SYMBOL,
                source=options.source,
                speed=options.speed,
                base_url=self._stack.base_url,
                key=keys.feeder,
                say=self._say,
            )
            await self.replay.run()
            self._say(f"replay: the server has all bars after {self.replay.lasted_s:.1f} s")
            return await self._compare(client, before)

    async def listen(self) -> None:
        """Reads the bots' events until it is cancelled."""
        while True:
            for bot in self.bots:
                with contextlib.suppress(FileNotFoundError):  # the bot has not been started yet
                    for event in bot.listen():
                        self._show(bot, event)
            await asyncio.sleep(LISTEN_EVERY_S)

    async def watch(self) -> None:
        """Refreshes `status` until it is cancelled."""
        async with httpx.AsyncClient(base_url=self._stack.base_url, timeout=5.0) as client:
            while True:
                if self.replay is not None and self._stack.keys is not None:
                    with contextlib.suppress(JobFailed):  # the view goes on showing the last one
                        self.status = await _ask(client, self._stack.keys.ops, "status")
                await asyncio.sleep(WATCH_EVERY_S)

    def _show(self, bot: DemoBot, event: dict[str, Any]) -> None:
        match event["event"]:
            case "received" if bot is self.bots[0]:
                label = "SIMULATED " if event["source"] == "simulated" else ""
                self._say_signal(
                    f"{label}signal {event['symbol']} #{event['sequence']} {event['side']} "
                    f"at {event['price']}, market time {event['event_at']}"
                )
            case "api_away" | "connect_failed" | "reconnecting" | "trade_refused" | "confidence_refused":
                facts = {name: value for name, value in event.items() if name not in ("event", "at")}
                self._say(f"{bot.name}: {event['event']} {facts}")
            case _:
                pass

    async def _compare(self, client: httpx.AsyncClient, before: int) -> bool:
        """Compares the signals and trades that the server has with those that each bot reports."""
        listed = await self._settle(client, before)
        equal = True
        assert self.replay is not None
        lines = [f"{len(listed)} signals from {self.replay.sent} bars of {self.options.label}"]
        for bot in self.bots:
            stored = await _trades(client, bot.key, listed)
            found = differences(bot, listed, stored)
            equal = equal and not found
            net_pnl = bot.status.get("net_pnl", "0")
            lines.append(
                f"{bot.name}: {len(bot.received)} signals received, {len(bot.trades)} trades sent, "
                f"{len(stored)} stored, net paper pnl {net_pnl} USD: {'equal' if not found else 'DIFFERENT'}"
            )
            lines.extend(f"{bot.name}: {line}" for line in found)
        self.summary = lines
        for line in lines:
            self._say(f"summary: {line}")
        return equal

    async def _settle(self, client: httpx.AsyncClient, before: int) -> list[int]:
        """Sequences of this run's signals, as soon as no more arrive and every bot has settled."""
        key = self.bots[0].key
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        listed: list[int] = []
        while True:
            now = await _signals(client, key, before)
            settled = all(bot.is_settled(now[-1] if now else before) for bot in self.bots)
            if (settled and now == listed) or time.monotonic() > deadline:
                return now
            listed = now
            await asyncio.sleep(1.0)


async def _ask(client: httpx.AsyncClient, key: str, path: str, **query: str | int) -> dict[str, Any]:
    """One GET, repeated while the server is unavailable; raises JobFailed after 30 s, or if it refuses."""
    deadline = time.monotonic() + 30
    while True:
        try:
            answer = await client.get(
                f"/api/{path}", params=query, headers={"Authorization": f"Bearer {key}"}
            )
        except httpx.TransportError as error:
            problem = type(error).__name__
        else:
            if answer.is_success:
                found: dict[str, Any] = answer.json()
                return found
            problem = f"{answer.status_code} {answer.text[:300]}"
            if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                raise JobFailed(f"GET /api/{path}: {problem}")
        if time.monotonic() > deadline:
            raise JobFailed(f"GET /api/{path}: {problem}")
        await asyncio.sleep(0.5)


async def _signals(client: httpx.AsyncClient, key: str, after: int) -> list[int]:
    sequences: list[int] = []
    while True:
        page = await _ask(client, key, "signals", symbol=SYMBOL, after=after, limit=PAGE)
        sequences.extend(message["sequence"] for message in page["signals"])
        if not page["signals"]:
            return sequences
        after = sequences[-1]


async def _trades(client: httpx.AsyncClient, key: str, sequences: list[int]) -> list[dict[str, Any]]:
    """The account's stored trades of these signals: a database that settings name may hold earlier ones."""
    of_run = set(sequences)
    stored: list[dict[str, Any]] = []
    query: dict[str, str | int] = {"symbol": SYMBOL, "limit": PAGE}
    while True:
        page = await _ask(client, key, "trades", **query)
        stored.extend(trade for trade in page["trades"] if trade["signal_sequence"] in of_run)
        if page["next_cursor"] is None:
            return stored
        query["cursor"] = page["next_cursor"]
