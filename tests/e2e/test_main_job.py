"""The main job at speed: bars in, signals out, trades back, and nothing lost while services are killed."""

import csv
import gzip
import os
import signal
import time
from pathlib import Path

import psutil

from tests.support import vendor_files as vendors
from tests.support.market import simulated_es
from tests.support.places import ROOT
from tests.support.stacks import LocalStack, local_stack

BUNDLED = ROOT / "local" / "demo" / "bars" / "es_simulated.csv.gz"
JOB_TIMEOUT_S = 240.0
OUTAGE_S = 4.0


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


def test_bots_receive_and_report_exactly_what_the_server_has(directory: Path) -> None:
    """From a file of another program, whose format and times are told before the stack starts."""
    path = directory / "es 12-25.txt"
    path.write_bytes(
        vendors.ninjatrader(simulated_es()[:1500], "America/New_York").content(";", "\r\n", mark=True)
    )
    named = {"ZONE": "America/New_York", "STAMP": "end"}
    with local_stack(
        "run", directory / "state", None, BARS=str(path), SPEED="15000", EXIT="1", **named
    ) as running:
        running.await_ready()
        assert running.await_end(JOB_TIMEOUT_S) == 0, f"{running.output}\n{running.logs()}"
        told, _, rest = running.output.partition("postgres")
        assert "es 12-25.txt: NinjaTrader, 1,500 rows" in told
        assert "times: America/New_York (as ZONE says); end of the minute (as STAMP says)" in told
        assert "1,500 bars of 2025-06-29 22:00 to" in told
        assert "skipped" not in told
        assert "signals from 1500 bars" in rest
        assert " 0 signals received" not in rest
        assert_all_equal(running)
        assert "500" not in access_statuses(running)
        assert running.left_behind() == []


def test_difference_ends_with_status_1(directory: Path) -> None:
    """The comparison is no decoration: a bot that dies in the middle makes it fail."""
    bars = bars_file(directory / "bars.csv", 600)
    with local_stack("run", directory / "state", BARS=str(bars), SPEED="6000", EXIT="1") as running:
        running.await_ready()
        await_text(running, "signal ES #1 ")
        os.kill(running.pid("bot-2"), signal.SIGKILL)
        assert running.await_end(JOB_TIMEOUT_S) == 1, running.output
        assert "DIFFERENT" in running.output
        assert "bot-2 was ended by SIGKILL" in running.output


def test_a_bar_file_that_cannot_be_used_is_told_in_one_line(directory: Path) -> None:
    bars = directory / "bars.csv"
    bars.write_text("open_time,open,high,low,close,volume\n2025-10-13T00:00:00Z,1,2,1,2,many\n")
    with local_stack("run", directory / "state", BARS=str(bars), EXIT="1") as running:
        assert running.await_end(JOB_TIMEOUT_S) == 2, running.output
        assert "not one of 1 row is a bar: 1 whose volume is not a plain decimal number" in running.output
        assert "Traceback" not in running.output


def test_nothing_is_lost_while_services_are_away(directory: Path) -> None:
    bars = bars_file(directory / "bars.csv", 3500)
    with local_stack(
        "run", directory / "state", BARS=str(bars), SPEED="6000", EXIT="1", WORKERS="2"
    ) as running:
        running.await_ready()
        await_text(running, "signal ES #2 ")
        keep_killing(running, "webpubsub")
        keep_killing(running, "valkey")
        valkey = running.pid("valkey")
        os.kill(valkey, signal.SIGSTOP)
        time.sleep(OUTAGE_S)
        os.kill(valkey, signal.SIGCONT)
        (worker, *_) = psutil.Process(running.pid("host")).children()
        worker.kill()
        assert "all bars are in" not in running.output
        assert running.await_end(JOB_TIMEOUT_S) == 0, f"{running.output}\n{running.logs()}"
        assert_all_equal(running)
        assert "500" not in access_statuses(running)
        assert running.left_behind() == []


def await_text(running: LocalStack, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in running.output:
        assert time.monotonic() < deadline, f"{running.output}\n{running.logs()}"
        assert running.process.poll() is None, f"{running.output}\n{running.logs()}"
        time.sleep(0.05)


def keep_killing(running: LocalStack, name: str) -> None:
    """Away for OUTAGE_S: killed as often as it comes back."""
    over = time.monotonic() + OUTAGE_S
    while time.monotonic() < over:
        pid = running.document()["processes"].get(name)
        if pid is not None and psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
