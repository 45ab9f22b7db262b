"""Draws where a host worker spends its time under load, as docs/hot_path.svg (`make flame`).

py-spy samples the Python frames of the worker's main thread while a stack of its own answers 99% hits. It
must be allowed to read another process: as root, or on Linux with kernel.yama.ptrace_scope=0.
"""

import argparse
import re
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from loadtests.bench import servers
from loadtests.bench.processes import ROOT, temporary_directory
from loadtests.bench.side import run

TITLE = "POST /api/ml/get_confidence, 99% hits: one worker, Python frames of the main thread"
SECONDS = 10
SAMPLES_A_SECOND = 200
# Each sample stops the worker briefly, so sampling takes longer than SECONDS and the load must outlast it.
_LOAD_S = SECONDS + 4.0


def record(target: Path) -> None:
    """Writes the picture; raises CalledProcessError if py-spy may not read the worker."""
    with temporary_directory() as directory, servers.running_stack(directory) as stack:
        champion = servers.serve_model(stack, servers.past_trades())
        ours = servers.our_side(stack, servers.our_expected(champion))
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
    # --gil leaves out waiting threads.
    command = [str(spy), "record", "--gil", "--pid", str(pid), "--rate", rate, "--duration", seconds]
    subprocess.run([*command, "--format", "flamegraph", "--output", str(target)], check=True)  # noqa: S603
    # py-spy's own title is its command line, with paths of this machine.
    drawn = target.read_text(encoding="utf-8")
    target.write_text(re.sub(rf">{re.escape(str(spy))} record[^<]*<", f">{TITLE}<", drawn), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.flame", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "hot_path.svg", help="%(default)s")
    record(parser.parse_args().output)


if __name__ == "__main__":
    main()
