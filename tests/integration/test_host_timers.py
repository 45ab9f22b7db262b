"""Timer functions under the local host, in real time: schedules of a second, observed from a file."""

import json
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosting import RunningHost, running_host, wait_for, write_app

APP = """
import asyncio, json, os, time
import azure.functions as func

app = func.FunctionApp()

def note(name, **values):
    with open("notes.jsonl", "a") as file:
        file.write(json.dumps({"name": name, "at": time.time(), "pid": os.getpid(), **values}) + "\\n")

@app.timer_trigger(arg_name="timer", schedule="%EVERY_SECOND%")
async def steady(timer: func.TimerRequest) -> None:
    note("steady", past_due=timer.past_due, status=timer.schedule_status)

@app.timer_trigger(arg_name="timer", schedule="00:00:01")
def constant(timer: func.TimerRequest) -> None:
    note("constant")

overruns = iter([3.4, 0.0, 0.0, 0.0, 0.0, 0.0])
@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def overrunning(timer: func.TimerRequest) -> None:
    note("overrunning", past_due=timer.past_due, event="start")
    await asyncio.sleep(next(overruns, 0.0))
    note("overrunning", event="end")

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
def failing(timer: func.TimerRequest) -> None:
    note("failing")
    raise RuntimeError("a timer's own fault")

@app.timer_trigger(arg_name="timer", schedule="0 0 0 31 Feb *", run_on_startup=True)
async def at_start(timer: func.TimerRequest, context: func.Context) -> None:
    note("at_start", invocation_id=context.invocation_id)

@app.timer_trigger(arg_name="timer", schedule="0 0 0 31 Feb *", run_on_startup=True)
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:00.2")
async def retried(timer: func.TimerRequest, context: func.Context) -> None:
    retry = context.retry_context
    note("retried", count=retry.retry_count, most=retry.max_retry_count,
         before=retry.exception and retry.exception.message)
    if retry.retry_count < 2:
        raise RuntimeError(f"attempt {retry.retry_count}")

@app.timer_trigger(arg_name="timer", schedule="0 0 0 31 Feb *", run_on_startup=True)
@app.retry(strategy="exponential_backoff", max_retry_count="2", minimum_interval="00:00:00.2",
           maximum_interval="00:00:00.3")
async def hopeless(timer: func.TimerRequest) -> None:
    note("hopeless")
    raise RuntimeError("every time")
"""


def notes(directory: Path, name: str) -> list[dict[str, Any]]:
    path = directory / "notes.jsonl"
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [note for note in map(json.loads, lines) if note["name"] == name]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    directory = write_app(tmp_path_factory.mktemp("timers"), APP)
    with running_host(directory, "timers", environment={"EVERY_SECOND": "*/1 * * * * *"}) as running:
        yield running


def collected(host: RunningHost, name: str, count: int) -> list[dict[str, Any]]:
    directory = host.log.parent
    return wait_for(
        lambda: found if len(found := notes(directory, name)) >= count else None, f"{count} of {name}"
    )


def test_a_timer_fires_on_its_seconds_with_its_status(host: RunningHost) -> None:
    fired = collected(host, "steady", 4)
    assert [round(later["at"]) - round(earlier["at"]) for earlier, later in pairwise(fired[:4])] == [1, 1, 1]
    # Never before its second, and not much after it, however busy the machine is.
    assert all(note["at"] % 1 < 0.9 for note in fired)
    assert fired[1]["status"]["Last"] == fired[0]["status"]["LastUpdated"]


def test_a_constant_interval_fires(host: RunningHost) -> None:
    fired = collected(host, "constant", 3)
    assert fired[2]["at"] - fired[0]["at"] >= 1.9


def test_one_run_at_a_time_a_late_one_is_past_due_and_missed_ones_are_not_piled_up(host: RunningHost) -> None:
    noted = collected(host, "overrunning", 8)
    assert [note["event"] for note in noted[:8]] == ["start", "end"] * 4
    starts = [note for note in noted if note["event"] == "start"]
    assert [note["past_due"] for note in starts[:3]] == [False, True, False]
    # The run of 3.4 s misses three ticks; one run makes up for all, and the next keeps the schedule.
    assert 3.4 <= starts[1]["at"] - starts[0]["at"] < 4.4
    assert starts[2]["at"] - starts[1]["at"] > 0.05


def test_a_failure_is_logged_and_the_timer_goes_on(host: RunningHost) -> None:
    collected(host, "failing", 3)
    assert "Timer failing failed" in host.output()
    assert "RuntimeError: a timer's own fault" in host.output()


def test_run_on_startup_runs_once_and_a_schedule_that_never_comes_is_said(host: RunningHost) -> None:
    collected(host, "at_start", 1)
    collected(host, "steady", 4)
    assert len(notes(host.log.parent, "at_start")) == 1
    assert "Timer at_start never fires" in host.output()


def test_a_retry_policy_tries_again_and_says_which_attempt_it_is(host: RunningHost) -> None:
    tried = collected(host, "retried", 3)
    assert [(note["count"], note["most"], note["before"]) for note in tried] == [
        (0, 3, None),
        (1, 3, "attempt 0"),
        (2, 3, "attempt 1"),
    ]
    assert all(later["at"] - earlier["at"] >= 0.19 for earlier, later in pairwise(tried))


def test_a_retry_policy_ends_after_its_last_attempt(host: RunningHost) -> None:
    collected(host, "hopeless", 3)
    collected(host, "steady", 4)
    assert len(notes(host.log.parent, "hopeless")) == 3


TIMEOUTS = """
import asyncio, json, os, time
import azure.functions as func

app = func.FunctionApp()

def note(name):
    with open("notes.jsonl", "a") as file:
        file.write(json.dumps({"name": name, "pid": os.getpid()}) + "\\n")

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def hanging(timer: func.TimerRequest) -> None:
    note("hanging")
    await asyncio.sleep(60)

@app.timer_trigger(arg_name="timer", schedule="%STUCK_SCHEDULE%", run_on_startup=True)
def stuck(timer: func.TimerRequest) -> None:
    note("stuck")
    if os.environ["STUCK"] == "1":
        time.sleep(60)
"""
_TIMEOUT = {"host.json": json.dumps({"version": "2.0", "functionTimeout": "00:00:01"})}
_NEVER = "0 0 0 31 Feb *"


def test_an_async_run_over_its_timeout_is_cancelled_and_the_next_one_comes(tmp_path: Path) -> None:
    directory = write_app(tmp_path, TIMEOUTS, _TIMEOUT)
    with running_host(directory, "timers", environment={"STUCK": "0", "STUCK_SCHEDULE": _NEVER}) as host:
        runs = collected(host, "hanging", 3)
        assert len({note["pid"] for note in runs}) == 1
        assert "Timer hanging passed its timeout of 1.0 s" in host.output()


def test_a_sync_run_over_its_timeout_costs_the_process_as_on_the_platform(tmp_path: Path) -> None:
    directory = write_app(tmp_path, TIMEOUTS, _TIMEOUT)
    with running_host(directory, "timers", environment={"STUCK": "1", "STUCK_SCHEDULE": _NEVER}) as host:
        runs = collected(host, "stuck", 2)
        assert len({note["pid"] for note in runs}) == 2
        assert "asked for a restart" in host.output()


def test_a_killed_timer_process_is_replaced_and_a_stop_leaves_none(tmp_path: Path) -> None:
    directory = write_app(tmp_path, APP)
    with running_host(directory, "timers", environment={"EVERY_SECOND": "* * * * * *"}) as host:
        first = collected(host, "steady", 1)[0]["pid"]
        (worker,) = host.workers()
        worker.send_signal(signal.SIGKILL)
        wait_for(lambda: {note["pid"] for note in notes(directory, "steady")} - {first}, "its replacement")
        (worker,) = host.workers()
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(timeout=10) == 0
        assert not worker.is_running()
