"""Packs the app into one zip that the platform mounts and runs as it is: `python -m operations.package`.

The zip holds the files that .funcignore does not name, the packages of requirements.txt for Linux on x86-64
without what no program imports (operations/slimming.py), and the bytecode of both. The mount is read-only, so
without the bytecode each start of a process would compile everything again. Python does not check the
bytecode against its source, because a zip rounds the times that the check compares. The same input makes the
same bytes.
"""

import argparse
import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from operations.command import run_plainly
from operations.slimming import slim
from shared.errors import ConfigurationError
from shared.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
# Where the platform's Python worker looks for packages.
PACKAGES = Path(".python_packages/lib/site-packages")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
PYTHON = "3.13"
# The earliest time that a zip can hold.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_BUILD = re.compile(r"[0-9a-zA-Z]{1,40}")


def source_files(root: Path) -> Iterator[Path]:
    """The app's files below `root` that .funcignore does not name, as paths relative to it."""
    patterns = [
        line.strip()
        for line in (root / ".funcignore").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    for directory, names, files in root.walk():
        inside = directory.relative_to(root)
        names[:] = sorted(name for name in names if not _ignored(inside / name, patterns, is_directory=True))
        for name in sorted(files):
            if not _ignored(inside / name, patterns, is_directory=False):
                yield inside / name


def _ignored(path: Path, patterns: Sequence[str], *, is_directory: bool) -> bool:
    # Caches, environments and settings of tools begin with a dot, and nothing of the app does.
    if path.name == "__pycache__" or path.suffix in (".pyc", ".zip") or path.name.startswith("."):
        return True
    for pattern in patterns:
        if pattern.endswith("/") and not is_directory:
            continue
        if fnmatch.fnmatch(path.as_posix(), pattern.rstrip("/")):
            return True
    return False


def stage(root: Path, tree: Path, version: str) -> None:
    """Copies the app's own files from `root` to `tree`, and writes `version` into their version module."""
    for path in source_files(root):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, tree / path)
    module = tree / "shared" / "version.py"
    source = module.read_text(encoding="utf-8")
    stamped = source.replace(f'VERSION = "{VERSION}"', f'VERSION = "{version}"')
    if version != VERSION and stamped == source:
        raise ConfigurationError("shared/version.py has another form than this command knows")
    module.write_text(stamped, encoding="utf-8")


def install(requirements: Path, target: Path) -> None:
    """Installs the pinned packages for the platform, on whatever machine; raises ConfigurationError."""
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
    wheels = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp", "--no-compile"]
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    run = subprocess.run(  # noqa: S603 - the arguments are ours
        [*pip, *wheels, *platforms, "--no-deps", "--target", str(target), "--requirement", str(requirements)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if run.returncode:
        raise ConfigurationError(f"pip could not install {requirements.name}: {run.stdout.strip()[-2000:]}")


def compile_all(tree: Path) -> None:
    """Writes bytecode beside every source; raises ConfigurationError if one does not compile."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON:
        raise ConfigurationError(f"bytecode is for one version of Python: run this with {PYTHON}")
    compiling = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    run = subprocess.run(  # noqa: S603 - the arguments are ours
        # Tracebacks then name a path in the app, not the directory of this build.
        [*compiling, "-s", str(tree), str(tree)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        # One process and one order of hashes: both change a few bytes of what is written.
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if run.returncode:
        raise ConfigurationError(f"not everything can be compiled:\n{run.stdout.strip()}")


def pack(tree: Path, output: Path) -> str:
    """Zips everything below `tree`, in one order and with one time; returns the SHA-256 in hex."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(tree).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
    return hashlib.sha256(output.read_bytes()).hexdigest()


def size_of(tree: Path) -> int:
    """The bytes of all files below `tree`."""
    return sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())


def _run(options: argparse.Namespace) -> int:
    version = f"{VERSION}+{options.build}" if options.build else VERSION
    with tempfile.TemporaryDirectory(prefix="signal-cloud-package-") as made:
        tree = Path(made)
        stage(ROOT, tree, version)
        install(ROOT / "requirements.txt", tree / PACKAGES)
        left_out = slim(tree / PACKAGES)
        compile_all(tree)
        digest = pack(tree, options.output)
        unpacked = size_of(tree)
    print(f"version {version}")
    print(f"sha256  {digest}")
    print(f"size    {options.output.stat().st_size / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB unpacked")
    print(f"without {left_out.files} files of {left_out.size / 1e6:.1f} MB that no program imports")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the package is made, 1 if not, 2 if an argument cannot be used."""
    options = _parser().parse_args(argv)
    return run_plainly(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m operations.package", description=summary)
    parser.add_argument(
        "--output", type=Path, default=ROOT / ".local" / "app.zip", help="file to write (.local/app.zip)"
    )
    parser.add_argument(
        "--build",
        type=_build,
        metavar="ID",
        help="such as a commit: the version becomes X.Y.Z+ID",
    )
    return parser


def _build(text: str) -> str:
    if _BUILD.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 40 letters and digits")
    return text


if __name__ == "__main__":
    sys.exit(main())
