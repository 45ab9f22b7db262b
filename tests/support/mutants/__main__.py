"""Puts small faults into a copy of the project and says which of them the tests do not notice.

Without PLACES, the faults go into the modules that changed since --base; with PLACES, into those files
and directories. The working tree stays as it is. Exit status: 0 if enough faults are noticed, 1 if not.
"""

import argparse
import asyncio
import contextlib
import difflib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.mutants.faults import Fault
from tests.support.mutants.selection import (
    Imports,
    changed_files,
    choose_faults,
    project_files,
    targets,
)
from tests.support.mutants.trials import Outcome, copy_project, record, try_faults

ROOT = Path(__file__).resolve().parents[3]
TEMPORARY = Path(tempfile.gettempdir()).resolve()  # pytest names files by their real paths
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    files = project_files(ROOT)
    if options.places:
        for place in options.places:
            if not (ROOT / place).exists():
                raise SystemExit(f"{place} does not exist.")
        paths = targets(files, options.places)
    else:
        base, changed = changed_files(ROOT, options.base)
        paths = targets([name for name in changed if name in set(files)], [])
        print(f"{len(paths)} modules changed since {base}.")
    faults = choose_faults(ROOT, paths, options.faults or None, options.seed)
    if not faults:
        print("Nothing to try.")
        return 0
    print(f"{len(faults)} faults in {len({fault.path for fault in faults})} modules, seed {options.seed}.")
    if options.list:
        for fault in faults:
            print(f"\n{describe(fault)}\n{diff(fault, ROOT)}", end="")
        return 0
    outcomes: list[Outcome] = []
    try:
        asyncio.run(_run(options, files, faults, outcomes))
    except KeyboardInterrupt:
        print(f"\nStopped after {len(outcomes)} of {len(faults)} faults.")
        print(summary(outcomes, lambda fault: diff(fault, ROOT)))
        return INTERRUPTED
    text = summary(outcomes, lambda fault: diff(fault, ROOT))
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    return 0 if share(outcomes) >= options.at_least else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", metavar="PLACE", nargs="*", help="e.g. shared/services functions")
    parser.add_argument(
        "--base",
        default=os.environ.get("BASE") or None,
        help="revision to compare with (default: BASE, else the last release tag, else HEAD~1)",
    )
    parser.add_argument(
        "--faults", type=int, default=100, help="how many at most; 0: one for every line (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="the same seed tries the same faults (%(default)s)"
    )
    parser.add_argument("--tests", default="tests/unit", help="directory of tests to run (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="faults tried at a time (%(default)s)")
    parser.add_argument(
        "--at-least", type=float, default=90, help="percent noticed that is enough (%(default)s)"
    )
    parser.add_argument("--output", type=Path, help="also write the summary to this file")
    parser.add_argument("--list", action="store_true", help="print the faults and try none")
    return parser.parse_args(arguments)


async def _run(
    options: argparse.Namespace, files: Sequence[str], faults: Sequence[Fault], outcomes: list[Outcome]
) -> None:
    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        result = "noticed" if outcome.noticed_by else "UNNOTICED"
        print(
            f"[{len(outcomes):{len(str(len(faults)))}}/{len(faults)}] {result:9} {outcome.seconds:6.1f} s  "
            f"{describe(outcome.fault)}  {outcome.noticed_by or ''}",
            flush=True,
        )

    with tempfile.TemporaryDirectory(prefix="mutants-", dir=TEMPORARY) as directory:
        first = Path(directory, "0")
        copy_project(ROOT, files, first)
        print(f"Running {options.tests} once without a fault ...", flush=True)
        recording = await record(first, options.tests)
        print(f"{len(recording.tests)} tests pass in {sum(recording.tests.values()):.0f} s.", flush=True)
        copies = [first, *(first.with_name(str(number)) for number in range(1, options.processes))]
        for copy in copies[1:]:
            shutil.copytree(first, copy)
        imports = Imports(ROOT, files, options.tests)
        await try_faults(faults, copies, recording, imports, report)


def describe(fault: Fault) -> str:
    return f"{fault.path}:{fault.line} {fault.kind}"


def diff(fault: Fault, root: Path) -> str:
    """Returns the fault as a unified diff."""
    source = (root / fault.path).read_bytes()
    before, after = (text.decode().splitlines(keepends=True) for text in (source, fault.apply(source)))
    return "".join(difflib.unified_diff(before, after, f"a/{fault.path}", f"b/{fault.path}", n=2))


def share(outcomes: Sequence[Outcome]) -> float:
    """Returns the percent of the faults that were noticed."""
    noticed = sum(outcome.noticed_by is not None for outcome in outcomes)
    return 100 * noticed / len(outcomes) if outcomes else 100.0


def summary(outcomes: Sequence[Outcome], diff_of: Callable[[Fault], str]) -> str:
    """Returns each unnoticed fault as a diff, then the share noticed by directory and in all."""
    missed = [outcome.fault for outcome in outcomes if outcome.noticed_by is None]
    parts = [
        f"{describe(fault)}\n{diff_of(fault)}" for fault in sorted(missed, key=lambda f: (f.path, f.line))
    ]
    tried = Counter(str(Path(outcome.fault.path).parent) for outcome in outcomes)
    unnoticed = Counter(str(Path(fault.path).parent) for fault in missed)
    rows = [f"{place:30} {tried[place] - unnoticed[place]:4} of {tried[place]:4}" for place in sorted(tried)]
    slow = sum(outcome.noticed_by == "timeout" for outcome in outcomes)
    rows.append(f"{'noticed':30} {len(outcomes) - len(missed):4} of {len(outcomes):4}")
    rows[-1] += f"  {share(outcomes):.0f}%, {slow} of them by a timeout"
    return "\n".join([*parts, *rows])


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
