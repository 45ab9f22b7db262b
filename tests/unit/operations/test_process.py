"""A command that runs as a process ends in time, in order, and with its whole output."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from operations.process import KILLED, MISSING, Call, run_process
from tests.support.places import ROOT


def python(source: str, **options: object) -> Call:
    return Call((sys.executable, "-c", textwrap.dedent(source)), **options)  # type: ignore[arg-type]


def test_an_answer_holds_status_and_both_streams() -> None:
    source = """
        import os, sys
        print(sys.stdin.read(), os.environ["GIVEN"], os.getcwd(), sep="|")
        print("problem", file=sys.stderr)
        sys.exit(4)
    """
    answer = run_process(python(source, stdin="secret", environment={"GIVEN": "value"}, cwd=Path("/")))
    assert answer == (4, "secret|value|/\n", "problem\n")


def test_a_command_without_input_reads_nothing_of_the_terminal() -> None:
    assert run_process(python("import sys; print(repr(sys.stdin.read()))")).output == "''\n"


def test_a_missing_command_is_an_answer() -> None:
    answer = run_process(Call(("no-such-tool-of-ours", "version")))
    assert answer.status == MISSING
    assert "no-such-tool-of-ours is not installed" in answer.error


def test_secrets_of_a_call_are_not_in_its_text() -> None:
    assert "pepper" not in repr(Call(("az",), stdin="pepper", environment={"KEY": "pepper"}))


@pytest.mark.parametrize("is_shown", [False, True])
def test_a_command_that_takes_too_long_is_interrupted_and_may_tidy_up(is_shown: bool, tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    source = f"""
        import pathlib, time
        try:
            print("begins", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pathlib.Path({str(tidied)!r}).write_text("yes")
    """
    began = time.monotonic()
    answer = run_process(python(source, timeout_s=1.0, is_shown=is_shown))
    assert answer.status == KILLED
    assert "not ended after 1 s" in answer.error
    assert time.monotonic() - began < 30
    assert tidied.read_text() == "yes"


def test_shown_output_appears_and_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    source = "import sys; print('out'); sys.stdout.flush(); print('problem', file=sys.stderr)"
    answer = run_process(python(source, is_shown=True))
    assert answer == (0, "out\nproblem\n", "out\nproblem\n")
    assert capsys.readouterr().out == "    out\n    problem\n"


def test_an_interruption_waits_until_the_command_has_ended(tmp_path: Path) -> None:
    """As pulumi does: it gets one interruption, ends its requests, and writes its state."""
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    inner = textwrap.dedent(f"""
        import pathlib, time
        try:
            pathlib.Path({str(begun)!r}).touch()
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(0.5)
            pathlib.Path({str(ended)!r}).write_text("state written")
    """)
    outer = f"""
        import sys
        from operations.process import Call, run_process
        try:
            run_process(Call((sys.executable, "-c", {inner!r}), timeout_s=60))
        except KeyboardInterrupt:
            sys.exit(130)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(outer)], cwd=ROOT)
    deadline = time.monotonic() + 20
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert ended.read_text() == "state written"
