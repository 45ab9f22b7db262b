"""Leaves out of installed packages what no program imports: their tests, stubs, sources of C, samples.

Half of the files that pip installs are for people who build or test a package. A read-only package of the
platform is downloaded whole for each new instance, so they cost time there, and they are never read.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Directories of a package's own tests, wherever they are.
TEST_DIRECTORIES = frozenset({"test", "tests"})
# Stubs for type checkers; headers, sources and templates of compiled modules; Fortran and Cython alike.
SOURCE_SUFFIXES = frozenset(
    {".a", ".c", ".cc", ".cpp", ".f", ".f90", ".h", ".hpp", ".pxd", ".pxi", ".pyf", ".pyi", ".pyx", ".tp"}
)  # fmt: skip
# What the rules above do not find, and why nothing here reads it.
PARTS = {
    "bin": "commands for a shell",
    "include": "headers",
    "onnxruntime/capi/libonnxruntime.so.*": "for programs in C: Python's module contains it",
    "onnxruntime/datasets": "sample models",
    "onnxruntime/quantization": "a tool for developers of models",
    "onnxruntime/tools": "tools for developers of models",
    "onnxruntime/transformers": "a tool for developers of models",
    "sklearn/datasets/data": "sample data",
    "sklearn/datasets/descr": "texts about sample data",
    "sklearn/datasets/images": "sample pictures",
}
# Files and directories that a rule finds although something imports them: none today.
EXCEPTIONS: frozenset[str] = frozenset()


class LeftOut(NamedTuple):
    files: int
    size: int  # in bytes


def slim(packages: Path) -> LeftOut:
    """Deletes below `packages` what no program imports, also from each distribution's list of files.

    Metadata and licences stay, because they are in `*.dist-info`, or have names that no rule finds.
    """
    left_out = sorted(unneeded(packages))
    size = sum(path.lstat().st_size for path in left_out)
    for path in left_out:
        path.unlink()
    for directory, _, _ in packages.walk(top_down=False):
        if directory != packages and not any(directory.iterdir()):
            directory.rmdir()
    for record in packages.glob("*.dist-info/RECORD"):
        _forget(record, packages)
    return LeftOut(len(left_out), size)


def unneeded(packages: Path) -> Iterator[Path]:
    """The files below `packages` that a rule leaves out."""
    named = {path for pattern in PARTS for path in packages.glob(pattern)}
    for directory, names, files in packages.walk():
        inside = directory.relative_to(packages)
        if inside.parts and inside.parts[0].endswith(".dist-info"):
            names.clear()
            continue
        is_out = inside.as_posix() not in EXCEPTIONS and (
            not TEST_DIRECTORIES.isdisjoint(inside.parts)
            or not named.isdisjoint([directory, *directory.parents])
        )
        for name in files:
            path = directory / name
            if (inside / name).as_posix() in EXCEPTIONS or _is_licence(name):
                continue
            if is_out or path in named or path.suffix in SOURCE_SUFFIXES:
                yield path


def _is_licence(name: str) -> bool:
    return name.lower().startswith(("licen", "copying", "notice", "thirdparty"))


def _forget(record: Path, packages: Path) -> None:
    """Drops the files that are gone from `record`, so that importlib.metadata lists those that are there."""
    with record.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    kept = [row for row in rows if row and ((packages / row[0]).exists() or row[0].startswith(".."))]
    if len(kept) != len(rows):
        # A file of its own, because an installer may have linked this one to its cache.
        record.unlink()
        with record.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines, lineterminator="\n").writerows(kept)
