"""Tries faults one at a time: each in a copy of the project, where the unit tests run until one fails."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.mutants.faults import Fault
from tests.support.mutants.recording import RECORDING
from tests.support.mutants.selection import Imports

MOST_WITNESSES = 40  # the first run is short; the second runs every test that loads the module
SLOWEST_START_S = 60  # a loaded machine may take that long to collect the tests
SLOWER = 5  # a run that takes this many times what its tests took unchanged hangs
PASSED, FAILED, BAD_ARGUMENTS = 0, 1, 4  # of pytest's exit statuses


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tests made of one fault; `noticed_by` is a test, `timeout` or `import`, None if nothing."""

    fault: Fault
    noticed_by: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Recording:
    """How long each test takes, and for each file and line the tests that run it."""

    tests: dict[str, float]
    lines: dict[str, dict[int, list[str]]]

    def witnesses(self, fault: Fault, near: Sequence[str]) -> list[str]:
        """Returns the tests that run the fault's lines: of near files first, quick ones first."""
        rank = {path: index for index, path in enumerate(near)}
        ran = self.lines.get(fault.path, {})
        found = {test for line in fault.lines for test in ran.get(line, ())}
        order = sorted(found, key=lambda test: (rank.get(test.split("::")[0], len(rank)), self.tests[test]))
        return order[:MOST_WITNESSES]

    def duration_s(self, chosen: Sequence[str]) -> float:
        """Returns how long `chosen` take, test ids or files."""
        names = set(chosen)
        return sum(s for test, s in self.tests.items() if test in names or test.split("::")[0] in names)


def copy_project(root: Path, files: Sequence[str], copy: Path) -> None:
    for name in files:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target)


async def record(copy: Path, tests: str) -> Recording:
    """Runs the tests once without a fault; they must pass, else no later failure would say anything."""
    report = copy / ".mutants.json"
    status, output = await _pytest(copy, [tests], None, {RECORDING: str(report)})
    if status != PASSED:
        raise SystemExit(f"The tests fail without any fault:\n{output}")
    found: dict[str, Any] = json.loads(report.read_bytes())
    lines = {path: {int(line): tests for line, tests in ran.items()} for path, ran in found["lines"].items()}
    return Recording(found["tests"], lines)


async def try_faults(
    faults: Sequence[Fault],
    copies: Sequence[Path],
    recording: Recording,
    imports: Imports,
    report: Callable[[Outcome], None],
) -> None:
    """Tries every fault, one in each copy at a time, and reports each outcome when it is known."""
    todo = iter(faults)

    async def work(copy: Path) -> None:
        for fault in todo:
            report(await _try(fault, copy, recording, imports))

    async with asyncio.TaskGroup() as group:
        for copy in copies:
            group.create_task(work(copy))


async def _try(fault: Fault, copy: Path, recording: Recording, imports: Imports) -> Outcome:
    started = time.monotonic()
    module = copy / fault.path
    source = module.read_bytes()
    # Bytecode is matched by second and size, which one changed character need not change.
    for compiled in (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"):
        compiled.unlink()
    try:
        module.write_bytes(fault.apply(source))
        near = imports.near(fault.path)
        noticed_by = await _first_witness(copy, recording, recording.witnesses(fault, near))
        noticed_by = noticed_by or await _first_importer(copy, recording, near)
    finally:
        module.write_bytes(source)
    return Outcome(fault, noticed_by, time.monotonic() - started)


async def _first_witness(copy: Path, recording: Recording, witnesses: Sequence[str]) -> str | None:
    """Runs tests that run the faulty line; returns what noticed the fault."""
    if not witnesses:
        return None
    status, output = await _trial(copy, recording, witnesses)
    # The parameters of a test, which are part of its name, may come from the faulty module.
    return None if status in (PASSED, BAD_ARGUMENTS) else _who(status, output)


async def _first_importer(copy: Path, recording: Recording, near: Sequence[str]) -> str | None:
    """Runs the files that load the module; returns what noticed the fault.

    A test that passes when it runs again failed because of a loaded machine, not because of the fault.
    """
    unsteady: list[str] = []
    while near:
        others = [f"--deselect={test}" for test in unsteady]
        status, output = await _trial(copy, recording, near, others)
        if status == PASSED:
            break
        noticed_by = _who(status, output)
        if "::" not in noticed_by or noticed_by in unsteady:
            return noticed_by
        status, _ = await _trial(copy, recording, [noticed_by])
        if status != PASSED:
            return noticed_by
        unsteady.append(noticed_by)
    return None


async def _trial(
    copy: Path, recording: Recording, chosen: Sequence[str], options: Sequence[str] = ()
) -> tuple[int | None, str]:
    limit_s = SLOWEST_START_S + SLOWER * recording.duration_s(chosen)
    return await _pytest(copy, [*options, *chosen], limit_s, {"PYTHONDONTWRITEBYTECODE": "1"})


def _who(status: int | None, output: str) -> str:
    if status is None:
        return "timeout"
    failed = [line[7:].split(" - ")[0] for line in output.splitlines() if line.startswith("FAILED ")]
    return failed[0] if failed and status == FAILED else "import"


async def _pytest(
    copy: Path, chosen: Sequence[str], limit_s: float | None, environment: dict[str, str]
) -> tuple[int | None, str]:
    """Runs pytest until the first failure; the status is None if it took longer than `limit_s`."""
    options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "tests.support.mutants.recording"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", *options, *chosen),
        cwd=copy,
        env=os.environ | {"PYTHONHASHSEED": "0"} | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limit_s):
            output, _ = await process.communicate()
    except TimeoutError:
        return None, ""
    finally:
        # Whatever the tests started ends with them, also after Ctrl-C.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return process.returncode, output.decode(errors="replace")
