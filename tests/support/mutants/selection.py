"""Chooses which files get faults, which faults are tried, and which tests can notice them."""

import ast
import random
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.support.mutants.faults import Fault, find_faults, is_fault


def project_files(root: Path) -> list[str]:
    """Returns the files that git tracks or would track, relative to `root`."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return sorted(name for name in set(listed.split("\0")) if name and (root / name).is_file())


def changed_files(root: Path, base: str | None) -> tuple[str, list[str]]:
    """Returns the revision and the files that differ from it, committed or not.

    Without `base`, the revision is the last release tag, or the commit before this one.
    """
    if base is None:
        tags = _git(root, "tag", "--merged", "HEAD", "--sort=-creatordate", "v*").split()
        base = tags[0] if tags else "HEAD~1"
    changed = _git(root, "diff", "--name-only", "-z", base).split("\0")
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard").split("\0")
    return base, sorted(set(filter(None, [*changed, *new])))


def targets(files: Iterable[str], places: Sequence[str]) -> list[str]:
    """Returns the modules among `files` that may get faults: those under `places`, tests left out."""
    modules = [name for name in files if name.endswith(".py") and not name.startswith("tests/")]
    if not places:
        return modules
    prefixes = [place.rstrip("/") for place in places]
    return [
        name
        for name in modules
        if any(name == prefix or name.startswith(f"{prefix}/") for prefix in prefixes)
    ]


def choose_faults(root: Path, paths: Iterable[str], count: int | None, seed: int) -> list[Fault]:
    """Returns at most `count` faults: lines at random, then on each line one kind, then one fault of it.

    By line, because else the faults crowd on the few lines that hold many constants.
    """
    by_line: dict[tuple[str, int], list[Fault]] = defaultdict(list)
    sources = {path: (root / path).read_bytes() for path in paths}
    for path, source in sources.items():
        for fault in find_faults(path, source):
            by_line[path, fault.line].append(fault)
    chance = random.Random(seed)
    lines = sorted(by_line)
    chance.shuffle(lines)
    chosen: list[Fault] = []
    for line in lines:
        if count is not None and len(chosen) >= count:
            break
        valid = [fault for fault in by_line[line] if is_fault(fault, sources[line[0]])]
        if valid:
            kind = chance.choice(sorted({fault.kind for fault in valid}))
            chosen.append(chance.choice([fault for fault in valid if fault.kind == kind]))
    return chosen


class Imports:
    """Says which test files load a module, directly or through other modules of the project."""

    def __init__(self, root: Path, files: Sequence[str], tests: str) -> None:
        modules = {_module_name(name): name for name in files if name.endswith(".py")}
        self._direct = {
            name: {modules[found] for found in _imported(root / name, module) if found in modules}
            for module, name in modules.items()
        }
        self._conftests = [name for name in modules.values() if Path(name).name == "conftest.py"]
        self._tests = [
            name
            for name in modules.values()
            if name.startswith(tests.rstrip("/")) and Path(name).name.startswith("test_")
        ]

    def near(self, path: str) -> list[str]:
        """Returns the test files that load `path`: its namesakes, then its importers, then the others."""

        def distance(test: str) -> tuple[int, int, str]:
            stem = Path(test).stem.removeprefix("test_")
            same_room = Path(path).parent.name == Path(test).parent.name
            named = stem == Path(path).stem or stem.startswith(f"{Path(path).stem}_")
            imports = path in self._direct[test]
            return (0 if named and (imports or same_room) else 1 if imports else 2), len(stem), test

        return sorted((test for test in self._tests if path in self._loaded(test)), key=distance)

    def _loaded(self, test: str) -> set[str]:
        above = [name for name in self._conftests if Path(name).parent in Path(test).parents]
        found: set[str] = set()
        todo = [test, *above]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(self._direct[name])
        return found


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imported(path: Path, module: str) -> Iterator[str]:
    """Yields every name that may be a module which `path` imports, packages above it included."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            source = node.module or "" if not node.level else ".".join(filter(None, [above, node.module]))
            names = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            while name:
                yield name
                name = name.rpartition(".")[0]  # noqa: PLW2901


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"git {arguments[0]} failed: {run.stderr.strip()}")
    return run.stdout
