"""`make flame`: where a host worker's time goes under load, as docs/hot_path.svg (py-spy).

Takes the main thread's Python frames of the worker while a stack of its own answers 99% hits. py-spy has to
be allowed to read another process: root, or on Linux kernel.yama.ptrace_scope=0.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

from loadtests import stack
from loadtests.measure import run
from loadtests.processes import ROOT

TITLE = "POST /api/ml/get_confidence, 99% hits: one worker, Python frames of the main thread"
SECONDS = 10
SAMPLES_A_SECOND = 200
# Sampling stops the worker for a moment each time; load goes on well past its end.
_LOAD_S = SECONDS + 4.0


def record(target: Path) -> None:
    """Writes the picture; raises CalledProcessError where py-spy is not allowed to look."""
    with tempfile.TemporaryDirectory(prefix="signal-cloud-flame-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        with stack.running_stack(directory) as running:
            champion = asyncio.run(stack.teach(running, stack.past_trades()))
            stack.await_model(running.port, running.load_keys[0], champion.version)
            ours = stack.our_side(running, stack.our_expected(champion))
            run(ours, fresh_share=0.01, seconds=2.0)
            (worker,) = psutil.Process(ours.pid).children()
            load = threading.Thread(target=lambda: run(ours, fresh_share=0.01, seconds=_LOAD_S))
            load.start()
            try:
                _spy(worker.pid, target)
            finally:
                load.join()


def _spy(pid: int, target: Path) -> None:
    spy = Path(sys.executable).with_name("py-spy")
    rate, seconds = str(SAMPLES_A_SECOND), str(SECONDS)
    # --gil leaves out threads that wait.
    command = [str(spy), "record", "--gil", "--pid", str(pid), "--rate", rate, "--duration", seconds]
    subprocess.run([*command, "--format", "flamegraph", "--output", str(target)], check=True)  # noqa: S603
    # py-spy's title is its command line, with this machine's paths.
    drawn = target.read_text(encoding="utf-8")
    target.write_text(re.sub(rf">{re.escape(str(spy))} record[^<]*<", f">{TITLE}<", drawn), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.flame", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "hot_path.svg", help="%(default)s")
    record(parser.parse_args().output)


if __name__ == "__main__":
    main()
