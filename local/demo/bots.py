"""Runs examples/bot.py as child processes, and reads what the bots report about themselves."""

import json
import os
import sys
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from local.places import ROOT
from local.supervisor import Command, Service

# A bot that we stop may still have trades to report.
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class BotMarket:
    """A file of our own format with the bars that the bots trade on, and the speed of the replay."""

    path: Path
    symbol: str
    speed: float

    def arguments(self) -> tuple[str, ...]:
        return ("--bars", str(self.path), "--bars-symbol", self.symbol, "--speed", str(self.speed))


@dataclass
class DemoBot:
    """One bot's process and everything that it has reported so far."""

    name: str
    key: str
    log_path: Path
    subscribed: bool = False
    received: list[int] = field(default_factory=list)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=6))
    trades: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent_twice: list[str] = field(default_factory=list)
    reported: dict[str, str] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    process: Service | None = None
    _read: int = 0

    def service(self, base_url: str, symbols: list[str], market: BotMarket) -> Service:
        environment = {**os.environ, "SIGNAL_CLOUD_URL": base_url, "SIGNAL_CLOUD_KEY": self.key}
        argv = (
            *(sys.executable, str(ROOT / "examples" / "bot.py"), "--json-log", "--name", self.name),
            *("--symbols", *symbols),
            *market.arguments(),
        )
        command = Command(argv, environment, self.log_path, ROOT)
        self.process = Service(
            self.name, command, self._is_subscribed, stop_timeout_s=STOP_TIMEOUT_S, restart=False
        )
        return self.process

    async def _is_subscribed(self) -> bool:
        self.listen()
        return self.subscribed

    def listen(self) -> list[dict[str, Any]]:
        """Reads the lines that the bot has written since the last call; returns the new events."""
        events = []
        with self.log_path.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    break  # the bot is still writing this line
                self._read += len(line)
                try:
                    event = json.loads(line)
                except ValueError:
                    self.problems.append(line.decode(errors="replace").strip())
                    continue
                events.append(event)
                self._take(event)
        return events

    def _take(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "subscribed":
                self.subscribed = True
            case "received":
                self.received.append(event["sequence"])
                self.recent.append(event)
            case "trade":
                trade = event["trade"]
                if trade["trade_id"] in self.trades:
                    self.sent_twice.append(trade["trade_id"])
                self.trades[trade["trade_id"]] = trade
            case "reported":
                self.reported[event["trade_id"]] = event["status"]
            case "trade_refused" | "confidence_refused":
                self.problems.append(f"{event['event']}: {event['problem']}")
            case "status" | "summary":
                self.status = event

    def is_settled(self, last_sequence: int) -> bool:
        """Whether the bot has ended, or has acted on all signals and has nothing to close or to report."""
        if self.process is not None and self.process.state == "stopped":
            return True
        acted = self.status.get("acted", {})
        return bool(
            acted
            and max(acted.values()) >= last_sequence
            and self.status["open"] == 0
            and self.status["waiting"] == 0
            and len(self.reported) == len(self.trades)
        )


def differences(bot: DemoBot, listed: list[int], stored: list[dict[str, Any]]) -> list[str]:
    """A line for each difference between the bot's report and the server's.

    Compares received signals with GET /api/signals, and sent trades with GET /api/trades.
    """
    found = []
    if bot.received != listed:
        missing, extra = set(listed) - set(bot.received), set(bot.received) - set(listed)
        twice = len(bot.received) - len(set(bot.received))
        if missing or extra or twice:
            found.append(
                f"signals: {len(missing)} missing {sorted(missing)[:5]}, "
                f"{len(extra)} unknown {sorted(extra)[:5]}, {twice} twice"
            )
        else:
            found.append("signals: out of order")
    by_id = {trade["trade_id"]: trade for trade in stored}
    lost, unknown = bot.trades.keys() - by_id.keys(), by_id.keys() - bot.trades.keys()
    if lost:
        found.append(f"trades: {len(lost)} sent but not stored {sorted(lost)[:5]}")
    if unknown:
        found.append(f"trades: {len(unknown)} stored but not sent {sorted(unknown)[:5]}")
    if len(by_id) != len(stored):
        found.append(f"trades: {len(stored) - len(by_id)} stored twice")
    if bot.sent_twice:
        found.append(f"trades: {len(bot.sent_twice)} signals acted on twice {bot.sent_twice[:5]}")
    found.extend(
        f"trades: {trade_id} is stored with other values"
        for trade_id in sorted(bot.trades.keys() & by_id.keys())
        if not _same(bot.trades[trade_id], by_id[trade_id])
    )
    return found + bot.problems


def _same(sent: dict[str, Any], stored: dict[str, Any]) -> bool:
    decimals = ("entry_price", "exit_price", "pnl", "fees")
    instants = ("entry_at", "exit_at")
    return (
        all(Decimal(sent[name]) == Decimal(stored[name]) for name in decimals)
        and all(datetime.fromisoformat(sent[n]) == datetime.fromisoformat(stored[n]) for n in instants)
        and all(sent[name] == stored[name] for name in ("symbol", "side", "strategy", "signal_sequence"))
    )
