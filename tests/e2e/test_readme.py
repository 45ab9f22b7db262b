"""What the README and the examples tell a stranger to run, run as it stands there."""

import asyncio
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from local.setup.node import find_node, install_packages
from shared.adapters.postgres import Database, SignalStore
from tests.support.places import ROOT
from tests.support.running import RunningStack
from tests.support.samples import a_draft

README = (ROOT / "README.md").read_text()
TIMEOUT_S = 40


def block(language: str, containing: str) -> str:
    """The README's code block of `language` that contains a text."""
    found = [
        text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text
    ]
    assert len(found) == 1, f"{len(found)} {language} blocks contain {containing}"
    return str(found[0])


def environment(stack: RunningStack) -> dict[str, str]:
    own = {"SIGNAL_CLOUD_URL": stack.base_url, "SIGNAL_CLOUD_KEY": stack.key("bot")}
    return os.environ | own | {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Listener:
    """A running command: call it to wait for a line with a text. `said` has the lines up to that one."""

    wait_for: Callable[[str], str]
    process: subprocess.Popen[str]
    said: list[str]

    def __call__(self, text: str) -> str:
        return self.wait_for(text)


@contextmanager
def listening(stack: RunningStack, command: Sequence[str], directory: Path) -> Iterator["Listener"]:
    """Runs `command`, and ends it afterwards."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment(stack),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    source = process.stdout

    def read() -> None:
        for line in source:
            lines.put(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    said: list[str] = []

    def wait_for(text: str) -> str:
        while True:
            try:
                said.append(lines.get(timeout=TIMEOUT_S))
            except queue.Empty:
                pytest.fail(f"never said {text!r}:\n{''.join(said)}")
            if text in said[-1]:
                return said[-1]

    try:
        yield Listener(wait_for, process, said)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(TIMEOUT_S)
        reader.join()
        source.close()


def publish(stack: RunningStack, **changed: Any) -> str:
    """An entry on ES as the signal engine stores it; returns its sequence as text. The relay then sends it.

    Not through POST signals, which refuses an entry while the market is closed.
    """
    values: dict[str, Any] = {"price": Decimal("6543.25"), "event_at": datetime.now(UTC)}
    values["features"] = {"vwap_distance": 2.1, "rsi": 35.0}
    draft = a_draft(**values | changed)

    async def store() -> int:
        url = stack.document["functions_database_url"]
        database = Database(url, role="signal_functions", pool_size=1)
        try:
            signal, _ = await SignalStore(database).publish(draft)
        finally:
            await database.close()
        return signal.sequence

    return str(asyncio.run(store()))


def publish_exit(stack: RunningStack) -> int:
    """An exit on ES, which is accepted at every hour and sent at once; returns its sequence."""
    draft: dict[str, Any] = {"symbol": "ES", "side": "LONG", "kind": "exit", "price": "6543.25"}
    draft |= {"strategy": "vwap_bounce", "features": {"vwap_distance": 2.1, "rsi": 35.0}}
    with stack.client("publisher") as publisher:
        answer = publisher.post("/signals", json=draft, headers={"Idempotency-Key": uuid4().hex})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["sequence"])


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the JavaScript client can be imported."""
    modules = install_packages(ROOT / "examples", ROOT / ".local" / "examples")
    directory = tmp_path_factory.mktemp("javascript")
    (directory / "node_modules").symlink_to(modules)
    return directory


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_calls_answer(stack: RunningStack) -> None:
    def answer(part: str) -> Any:
        done = subprocess.run(
            ["sh", "-c", block("sh", part)],
            env=environment(stack),
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S,
        )
        return json.loads(done.stdout)

    assert "confidence" in answer("/api/ml/get_confidence")
    assert answer("/api/trades -H")["recorded"] == 1
    withdrawn = answer("-X DELETE")
    assert withdrawn["trade_id"] == "my-1"
    assert answer("-X DELETE") == withdrawn, "it can be repeated, as the README says"
    assert "is on its way" in answer("/api/claims")["detail"]
    assert answer("/api/destinations")["secret"].startswith("whsec_")
    assert answer("/api/test-keys")["key"].startswith("sc_test_")


def test_the_confidence_that_the_readme_shows_has_the_fields_that_come(stack: RunningStack) -> None:
    shown = json.loads(block("json", '"confidence"'))
    with stack.client("bot") as api:
        asked = {"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}
        assert list(api.post("/ml/get_confidence", json=asked).json()) == list(shown)


@pytest.fixture(params=["python", "javascript"])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], Path]:
    """Each subscription of the README as it stands there: its command and directory."""
    if request.param == "python":
        (tmp_path / "subscribe.py").write_text(block("python", "WebPubSubClient"))
        return [sys.executable, "subscribe.py"], tmp_path
    directory: Path = request.getfixturevalue("javascript")
    (directory / "subscribe.mjs").write_text(block("js", "WebPubSubClient"))
    return [str(find_node().node), "subscribe.mjs"], directory


def acted_on(said: Sequence[str]) -> list[int]:
    """The sequences that a sample says it acts on; Python and JavaScript quote names differently."""
    return [int(found) for found in re.findall(r"\bsequence'?: (\d+)", "".join(said))]


def test_a_subscription_acts_on_a_signal(stack: RunningStack, sample: tuple[list[str], Path]) -> None:
    with listening(stack, *sample) as wait_for:
        wait_for("subscribed to symbol.ES")
        sequence = publish(stack)
        wait_for("act on")
        if not acted_on(wait_for.said):
            wait_for("sequence:")  # JavaScript prints an object in lines
        assert acted_on(wait_for.said) == [int(sequence)]


def publish_expired(stack: RunningStack, bot: Listener) -> None:
    """Publishes an entry that reaches a bot only after it has expired."""
    bot.process.send_signal(signal.SIGSTOP)
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    publish(stack, expires_at=expires_at)
    time.sleep(max(0.0, (expires_at - datetime.now(UTC)).total_seconds()) + 0.1)
    bot.process.send_signal(signal.SIGCONT)


def test_a_subscription_does_not_act_on_an_entry_that_has_expired(
    stack: RunningStack, sample: tuple[list[str], Path]
) -> None:
    with listening(stack, *sample) as wait_for:
        wait_for("subscribed to symbol.ES")
        publish_expired(stack, wait_for)
        wait_for("expired")
        assert "act on" not in "".join(wait_for.said)


def test_the_javascript_bot_asks_no_confidence_for_an_expired_entry(
    stack: RunningStack, javascript: Path
) -> None:
    shutil.copy(ROOT / "examples" / "bot.mjs", javascript / "bot.mjs")
    with listening(stack, [str(find_node().node), "bot.mjs", "ES"], javascript) as wait_for:
        wait_for("subscribed to symbol.ES")
        publish_expired(stack, wait_for)
        wait_for("expired at")
        assert "confidence" not in "".join(wait_for.said)


def test_a_subscription_fetches_what_it_missed(stack: RunningStack, sample: tuple[list[str], Path]) -> None:
    """It learns of signals that were sent while it had no connection by the next heartbeat or signal."""
    with listening(stack, *sample) as wait_for:
        wait_for("subscribed to symbol.ES")
        hub = WebPubSubServiceClient.from_connection_string(
            stack.document["webpubsub_connection_string"], hub="signals"
        )
        # A process that stands still cannot connect again before they are sent.
        wait_for.process.send_signal(signal.SIGSTOP)
        with hub:
            hub.close_all_connections()
        missed = [publish_exit(stack) for _ in range(3)]
        wait_for.process.send_signal(signal.SIGCONT)
        wait_for("act on")
        while len(acted_on(wait_for.said)) < len(missed):
            wait_for("sequence")
        assert acted_on(wait_for.said) == missed


def test_the_readme_makes_a_hook_for_tradingview_alone(stack: RunningStack) -> None:
    own = {"SIGNAL_CLOUD_URL": stack.base_url, "SIGNAL_CLOUD_PUBLISHER_KEY": stack.key("publisher")}
    shell = ["sh", "-euc", block("sh", "/api/hooks")]
    made = subprocess.run(shell, env=os.environ | own, capture_output=True, text=True, check=True)
    url = json.loads(made.stdout)["url"]
    assert url.startswith(f"{stack.base_url}/api/hooks/sch_")
    answered = httpx.post(url, content="flat ES1! 6500")
    assert (answered.status_code, answered.json()["code"]) == (403, "address_refused")


@pytest.fixture(params=["subscribe.py", "subscribe.mjs", "bot.py", "bot.mjs"])
def subscriber(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], Path]:
    """Each sample of the README and each example bot: its command and directory."""
    name = request.param
    directory = tmp_path if name.endswith(".py") else request.getfixturevalue("javascript")
    if name == "bot.py":
        return [sys.executable, str(ROOT / "examples" / name), "--symbols", "ES"], directory
    if name == "bot.mjs":
        shutil.copy(ROOT / "examples" / name, directory / name)
        return [str(find_node().node), name, "ES"], directory
    language = "python" if name.endswith(".py") else "js"
    (directory / name).write_text(block(language, "WebPubSubClient"))
    return [sys.executable if language == "python" else str(find_node().node), name], directory


def test_a_subscription_goes_on_behind_the_gap_of_a_lost_region(
    stack: RunningStack, subscriber: tuple[list[str], Path]
) -> None:
    with listening(stack, *subscriber) as wait_for:
        wait_for("subscribed")
        with psycopg.connect(stack.document["database_url"]) as connection:
            connection.execute("update signal_counters set last_sequence = last_sequence + 1000")
        for _ in range(2):
            # The README's samples print the signal, the bots a line with its number.
            wait_for(str(publish_exit(stack)))


def test_the_javascript_bot_asks_a_confidence_for_a_signal(stack: RunningStack, javascript: Path) -> None:
    shutil.copy(ROOT / "examples" / "bot.mjs", javascript / "bot.mjs")
    with listening(stack, [str(find_node().node), "bot.mjs", "ES"], javascript) as wait_for:
        wait_for("subscribed to symbol.ES")
        sequence = publish(stack)
        assert "confidence 0.5 (base_rate)" in wait_for(f"ES #{sequence} LONG")


def test_the_python_bot_asks_a_confidence_for_a_signal(stack: RunningStack) -> None:
    command = [sys.executable, str(ROOT / "examples" / "bot.py"), "--symbols", "ES"]
    with listening(stack, command, ROOT) as wait_for:
        wait_for("subscribed")
        sequence = publish(stack)
        assert "basis base_rate" in wait_for(f"confidence: symbol ES, sequence {sequence}")
