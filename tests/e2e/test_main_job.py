"""The main job at speed: bars in, signals out, trades back, and nothing lost while services are killed."""

import csv
import gzip
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.stacks import ROOT, LocalStack, local_stack

BUNDLED = ROOT / "local" / "bars" / "es_simulated.csv.gz"
JOB_TIMEOUT_S = 240.0


def bars_file(path: Path, count: int) -> Path:
    """The first `count` bundled bars."""
    with gzip.open(BUNDLED, "rt", newline="") as source, path.open("w", newline="") as target:
        writer = csv.writer(target)
        for number, row in enumerate(csv.reader(source)):
            if number > count:
                break
            writer.writerow(row)
    return path


def access_statuses(running: LocalStack) -> set[str]:
    """Every status of the access log: `<time> <method> <path> <status> <duration> ...`."""
    lines = (line.split() for line in (running.state / "logs" / "host.log").read_text().splitlines())
    return {words[3] for words in lines if len(words) > 4 and words[2].startswith("/api/")}


def assert_all_equal(running: LocalStack) -> None:
    output = running.output
    assert output.count(": equal") == 3, f"{output}\n{running.logs()}"
    assert "DIFFERENT" not in output


def test_bots_receive_and_report_exactly_what_the_server_has(tmp_path: Path) -> None:
    bars = bars_file(tmp_path / "bars.csv", 1500)
    with local_stack("run", tmp_path / "state", BARS=str(bars), SPEED="15000", EXIT="1") as running:
        running.await_ready()
        assert running.await_end(JOB_TIMEOUT_S) == 0, f"{running.output}\n{running.logs()}"
        assert_all_equal(running)
        assert "signals from 1500 bars" in running.output
        assert " 0 signals received" not in running.output
        assert "500" not in access_statuses(running)
        assert running.left_behind() == []


def test_difference_ends_with_status_1(tmp_path: Path) -> None:
    """The comparison is no decoration: a bot that dies in the middle makes it fail."""
    bars = bars_file(tmp_path / "bars.csv", 600)
    with local_stack("run", tmp_path / "state", BARS=str(bars), SPEED="6000", EXIT="1") as running:
        running.await_ready()
        deadline = time.monotonic() + 60
        while "bot-2" not in running.document()["processes"]:
            assert time.monotonic() < deadline, running.output
            time.sleep(0.05)
        os.kill(running.pid("bot-2"), signal.SIGKILL)
        assert running.await_end(JOB_TIMEOUT_S) == 1, running.output
        assert "DIFFERENT" in running.output


@pytest.mark.parametrize("victim", ["webpubsub", "valkey", "worker", "valkey stopped"])
def test_nothing_is_lost_while_a_service_is_away(tmp_path: Path, victim: str) -> None:
    bars = bars_file(tmp_path / "bars.csv", 2500)
    with local_stack(
        "run", tmp_path / "state", BARS=str(bars), SPEED="6000", EXIT="1", WORKERS="2"
    ) as running:
        running.await_ready()
        deadline = time.monotonic() + 60
        while "signal ES #2 " not in running.output:
            assert time.monotonic() < deadline, f"{running.output}\n{running.logs()}"
            time.sleep(0.05)
        _harm(running, victim)
        assert running.await_end(JOB_TIMEOUT_S) == 0, f"{running.output}\n{running.logs()}"
        assert_all_equal(running)
        assert "500" not in access_statuses(running)


def _harm(running: LocalStack, victim: str) -> None:
    if victim == "worker":
        (first, *_) = psutil.Process(running.pid("host")).children()
        first.kill()
    elif victim == "valkey stopped":
        pid = running.pid("valkey")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(4)  # the outage itself
        os.kill(pid, signal.SIGCONT)
    else:
        over = time.monotonic() + 4
        while time.monotonic() < over:  # as often as it comes back
            pid = running.document()["processes"].get(victim)
            if pid is not None and psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
