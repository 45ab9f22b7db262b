"""Runs bots as processes, and reads from their journals what they received and had acknowledged."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from loadtests.bench.processes import ROOT
from loadtests.failover.publisher import SYMBOL

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 40.0


@dataclass
class RunningBot:
    """One process of bot.py; its journal is read after it has ended, and while it runs."""

    name: str
    account: str
    process: subprocess.Popen[bytes]
    journal: Path

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of these kinds so far; a line that is not complete yet is left out."""
        lines = self.journal.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return [event for event in found if event["event"] in kinds]

    def received(self) -> list[datetime]:
        """The times of the signals that the bot acted on, which tell them apart."""
        return [datetime.fromisoformat(event["event_at"]) for event in self.events("received")]

    def sequences(self) -> set[tuple[int, str]]:
        """Every sequence that the bot has seen, with the time of its signal."""
        return {(event["sequence"], event["event_at"]) for event in self.events("received", "repeated")}

    def acknowledged(self) -> dict[str, float]:
        """When each trade was first acknowledged, as `time.time()`."""
        first: dict[str, float] = {}
        for event in self.events("reported"):
            first.setdefault(event["trade_id"], moment(event))
        return first


def moment(event: dict[str, Any]) -> float:
    """When the bot wrote the event, as `time.time()`."""
    return datetime.fromisoformat(event["at"]).timestamp()


def start_bot(directory: Path, number: int, url: str, key: str) -> RunningBot:
    """Starts one bot at the address of Front Door."""
    name = f"bot-{number}"
    journal = directory / f"{name}.jsonl"
    # Apart, because a warning of a library could end up within a line of the journal.
    with journal.open("wb") as output, journal.with_suffix(".err").open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(Path(__file__).with_name("bot.py")), "--name", name, "--symbols", SYMBOL],
            cwd=ROOT,
            env={**os.environ, "SIGNAL_CLOUD_URL": url, "SIGNAL_CLOUD_KEY": key},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    return RunningBot(name, f"demo-bot-{number}", process, journal)


def await_subscribed(bots: list[RunningBot]) -> None:
    """Raises RuntimeError if a bot does not subscribe in time."""
    deadline = time.monotonic() + READY_WITHIN_S
    for bot in bots:
        while not bot.events("subscribed"):
            if time.monotonic() > deadline or bot.process.poll() is not None:
                said = bot.journal.read_text() + bot.journal.with_suffix(".err").read_text()
                raise RuntimeError(f"{bot.name} does not subscribe: {said[-2000:]}")
            time.sleep(0.1)


def stop_bots(bots: list[RunningBot]) -> None:
    """Lets every bot report its last trades."""
    for bot in bots:
        bot.process.send_signal(signal.SIGTERM)
    for bot in bots:
        try:
            bot.process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            bot.process.kill()
            bot.process.wait()
