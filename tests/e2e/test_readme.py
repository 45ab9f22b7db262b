"""What the README and the examples tell a stranger to run, run as it stands there."""

import asyncio
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

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


@contextmanager
def listening(stack: RunningStack, command: Sequence[str], directory: Path) -> Iterator[Callable[[str], str]]:
    """Runs `command`; gives a function that waits for a line with a text. Ends it afterwards."""
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
        yield wait_for
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
        reader.join()
        source.close()


def publish(stack: RunningStack) -> str:
    """An entry on ES as the signal engine stores it; returns its sequence as text. The relay then sends it.

    Not through POST signals, which refuses an entry while the market is closed.
    """
    draft = a_draft(
        price=Decimal("6543.25"), event_at=datetime.now(UTC), features={"vwap_distance": 2.1, "rsi": 35.0}
    )

    async def store() -> int:
        url = stack.document["functions_database_url"]
        database = Database(url, role="signal_functions", pool_size=1)
        try:
            signal, _ = await SignalStore(database).publish(draft)
        finally:
            await database.close()
        return signal.sequence

    return str(asyncio.run(store()))


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the JavaScript client can be imported."""
    modules = install_packages(ROOT / "examples", ROOT / ".local" / "examples")
    directory = tmp_path_factory.mktemp("javascript")
    (directory / "node_modules").symlink_to(modules)
    return directory


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("path", ["/api/ml/get_confidence", "/api/trades"])
def test_the_curl_calls_answer(stack: RunningStack, path: str) -> None:
    done = subprocess.run(
        ["sh", "-c", block("sh", path)],
        env=environment(stack),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    answer = json.loads(done.stdout)
    assert "confidence" in answer or answer["recorded"] + answer["duplicates"] == 1


def test_the_confidence_that_the_readme_shows_has_the_fields_that_come(stack: RunningStack) -> None:
    shown = json.loads(block("json", '"confidence"'))
    with stack.client("bot") as api:
        asked = {"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}
        assert list(api.post("/ml/get_confidence", json=asked).json()) == list(shown)


def test_the_python_subscription_prints_a_signal(stack: RunningStack, tmp_path: Path) -> None:
    script = tmp_path / "subscribe.py"
    script.write_text(block("python", "WebPubSubClient"))
    with listening(stack, [sys.executable, str(script)], tmp_path) as wait_for:
        wait_for("heartbeat")
        sequence = publish(stack)
        assert f"'sequence': {sequence}" in wait_for("'type': 'signal'")


def test_the_javascript_subscription_prints_a_signal(stack: RunningStack, javascript: Path) -> None:
    (javascript / "subscribe.mjs").write_text(block("js", "WebPubSubClient"))
    with listening(stack, [str(find_node().node), "subscribe.mjs"], javascript) as wait_for:
        wait_for("heartbeat")
        publish(stack)
        wait_for("type: 'signal'")


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
