"""Measures what a worker pays before its first request: importing function_app and indexing its functions."""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass

from loadtests.bench.processes import ROOT

REPEATS = 7
_PROGRAM = """
import time
began = time.perf_counter()
import function_app
functions = function_app.app.get_functions()
took = time.perf_counter() - began
import json, psutil
print(json.dumps([took, psutil.Process().memory_info().rss / 1e6, len(functions)]))
"""


@dataclass(frozen=True)
class AppStart:
    """Medians over fresh processes with bytecode present; memory is resident, in MB of 10^6 bytes."""

    seconds: float
    memory_mb: float
    functions: int


def measure() -> AppStart:
    runs = []
    for _ in range(REPEATS + 1):
        run = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
        )
        runs.append(json.loads(run.stdout))
    # The first process may have compiled the bytecode.
    seconds, memory, functions = zip(*runs[1:], strict=True)
    return AppStart(statistics.median(seconds), statistics.median(memory), functions[0])


def describe(start: AppStart) -> str:
    return f"start: {start.functions} functions in {start.seconds:.2f} s, {start.memory_mb:.0f} MB"
