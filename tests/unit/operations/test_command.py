"""How a command ends: its status, and what it prints about a failure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from operations.command import UsageError, run_command
from shared.errors import DatabaseUnavailable, FieldError, SignalCloudError, ValidationFailed
from tests.support.places import ROOT


async def returns(status: int) -> int:
    return status


async def fails(error: Exception) -> int:
    raise error


@pytest.mark.parametrize("status", [0, 1, 7])
def test_a_command_has_its_own_status(status: int) -> None:
    assert run_command(returns(status)) == status


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UsageError("X is not set"), 2, "configuration_invalid: X is not set\n"),
        (
            DatabaseUnavailable("No database.", internal="refused"),
            1,
            "database_unavailable: No database.\n  refused\n",
        ),
        (
            ValidationFailed((FieldError("plan", "out_of_range", "plan is too long"),), "Refused."),
            1,
            "validation_failed: Refused.\n  plan: plan is too long\n",
        ),
    ],
)
def test_a_failure_is_printed_and_has_a_status(
    error: SignalCloudError, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(fails(error)) == status
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", text)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(fails(ZeroDivisionError()))


@pytest.mark.parametrize(
    "words",
    [
        ("operations.runner", "--stack", "prod", "--repository", "acme/signals"),
        ("operations.failover", "--planned", "--yes"),
    ],
)
def test_the_first_interruption_ends_a_command_that_waits_for_another_one(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """A loop of asyncio would take it, and the steps would go on."""
    tool, begun = tmp_path / "pulumi", tmp_path / "begun"
    tool.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys, time\n"
        "try:\n"
        f"    pathlib.Path({str(begun)!r}).touch()\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(0)\n"
    )
    tool.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SIGNAL_CLOUD_KEY": "unused",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told == ""
