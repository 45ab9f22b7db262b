"""The measures of attacks: one attack beside an innocent bot, and one ending under one fault of Redis."""

import json
import subprocess
import sys
from pathlib import Path

from loadtests.attacks import measuring
from loadtests.attacks.catalog import ATTACKS, CUSTOMER
from loadtests.attacks.stack import new_bot, store_trades
from loadtests.bench.servers import RunningStack as BenchStack
from tests.support.places import ROOT
from tests.support.running import RunningStack

SECONDS = 5.0
STORED = 1_000
REVOCATION_TIMEOUT_S = 150


def test_a_flood_is_answered_429_and_the_innocent_bot_is_served(stack: RunningStack) -> None:
    running = BenchStack(stack.state, stack.document, [])
    bot = new_bot(running, "innocent", 10_000)
    store_trades(running, bot, STORED)  # raises if the app counts others
    result = measuring.measure(running, bot, ATTACKS["confidence-flood"], SECONDS, SECONDS)
    assert 0 < result.answers["200"] <= CUSTOMER
    assert result.answers["429 rate_limited"] > CUSTOMER
    assert [each.kind for each in result.figures] == list(measuring.KINDS)
    assert all(each.attacked >= measuring.FEWEST and each.times > 0 for each in result.figures)
    # A slow machine may make it slow, but the bot is refused nothing and loses no signal.
    assert not result.failures
    assert min(result.attacker_cpu_s, result.host_cpu_s, *result.memory_mb) > 0


def test_a_revocation_is_watched_on_two_processes_while_redis_is_killed(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["--redis", "killed", "--ending", "revoke-license", "--json", str(figures)]
    run = subprocess.run(
        [
            *(sys.executable, "-m", "loadtests.attacks.revocation", *arguments),
            *("--seconds", "6", "--healed-seconds", "2"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=REVOCATION_TIMEOUT_S,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    document = json.loads(figures.read_text())
    (cell,), (beside,) = document["cells"], document["innocents"]
    assert run.returncode == (0 if cell["is_met"] and beside["is_met"] else 1)
    assert "revoke-license  killed" in run.stdout
    assert cell["watched_s"] >= 8
    assert cell["old_tried"] >= 3
    assert cell["answers"].get("403 license_revoked", 0) > 0
    assert "revoked" in cell["text"]
    assert len(cell["closed"]) == 2
    assert beside["published"]["201"] > 5
    assert beside["signals"] > 5
