"""What the live view draws from a status answer."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console

from local.demo.bots import DemoBot
from local.demo.main_job import MainJob
from local.demo.options import read_replay_options
from local.demo.view import LiveView
from local.stack.stack import Stack
from local.supervisor import Process, Service
from shared.domain.market.signals import Latency
from shared.settings_reader import SettingsReader

SERVICES = [
    Service(name, cast("Process", None), cast("Any", None), 50_000 + number, state="up", started_ms=1_234)
    for number, name in enumerate(("postgres", "valkey", "azurite", "webpubsub", "host", "timers"))
]


def nothing(_text: str) -> None: ...


@pytest.fixture
def job(tmp_path: Path) -> MainJob:
    options = read_replay_options(SettingsReader({}))
    return MainJob(
        options,
        (),
        cast("Stack", None),
        tmp_path,
        say=nothing,
        say_signal=nothing,
    )


def drawn(job: MainJob, said: Sequence[str] = (), width: int = 140, height: int = 45) -> str:
    console = Console(width=width, height=height, record=True, file=StringIO())
    view = LiveView(console)
    for text in said:
        view.say(text)
    console.export_text(clear=True)
    console.print(view.picture(SERVICES, job))
    return console.export_text()


def test_simulated_bars_say_so_from_the_start(job: MainJob) -> None:
    assert "SIMULATED" in drawn(job)


def test_the_latency_of_a_status_answer_is_shown(job: MainJob) -> None:
    assert "bar to push" not in drawn(job)
    latency = Latency(count=4, p50_ms=9.6, p95_ms=13.1, p99_ms=13.5)
    job.status = {"counts": {"requests": 1_061}, "publish_latency": msgspec.to_builtins(latency)}
    text = drawn(job)
    assert "1,061" in text
    assert "p50 10 ms, p99 14 ms" in text


def test_everything_fits_a_small_terminal(job: MainJob) -> None:
    for number in (1, 2, 3):
        bot = DemoBot(f"bot-{number}", "key", job.options.bars)
        for sequence in range(1, 9):
            bot.recent.append(
                {
                    "source": "simulated",
                    "symbol": "ES",
                    "sequence": sequence,
                    "side": "LONG",
                    "price": "6210.75",
                    "event_at": "2025-06-29T22:39:00Z",
                }
            )
        job.bots.append(bot)
    text = drawn(job, [f"event {number} " + "x" * 60 for number in range(20)], width=80, height=24)
    assert len(text.splitlines()) < 24
    assert "postgres" in text
    assert "#8" in text
    assert "bot-3  0 signals  0 trades" in text
    assert "request rate" in text
    assert "event 19" in text
    assert "Ctrl-C" in text
