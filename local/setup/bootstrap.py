"""Runs the project's own Python: `python3 local/setup/bootstrap.py ARGUMENTS...`.

Finds or fetches Python 3.13, makes `.venv`, installs requirements-dev.txt and infra/requirements.txt into
it, then becomes `.venv/bin/python ARGUMENTS...`. A stamp records what is installed, so the next start costs
milliseconds. Any Python from 3.9 on can run this file; it needs the standard library alone. `--clean`
removes everything that it made.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

WANTED = "3.13"
ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed-requirements"
SCRATCH = ROOT / ".local"
REQUIREMENTS = ROOT / "requirements-dev.txt"
# Six thousand files, of which a run reads a few hundred: Python compiles them on first use instead of now.
INFRA_REQUIREMENTS = ROOT / "infra" / "requirements.txt"
# A virtual environment needs these modules; some distributions put them into other packages.
_PROBE = "import sys, venv, ensurepip, ssl, zlib, ctypes; print('%d.%d' % sys.version_info[:2])"
_PROBE_TIMEOUT_S = 20
_CACHES = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache")

HELP = """\
Python 3.13 was not found and could not be fetched. Any of these helps, then start again:
  - https://www.python.org/downloads/ (or your system's package: python3.13 and python3.13-venv)
  - pyenv install 3.13
  - uv on your PATH (https://docs.astral.sh/uv/), which fetches it by itself
"""


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def _works(python: str) -> bool:
    """Whether `python` runs, is 3.13 and can make environments: a pyenv shim may exist and still fail."""
    try:
        found = subprocess.run(
            [python, "-I", "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and found.stdout.strip() == WANTED


def _newest_first(path: Path) -> tuple[int, ...]:
    return tuple(-int(number) for number in re.findall(r"\d+", path.name))


def _installed_pythons() -> Iterator[str]:
    yield sys.executable
    for directory in os.get_exec_path():
        candidate = Path(directory) / f"python{WANTED}"
        if os.access(candidate, os.X_OK):
            yield str(candidate)
    pyenv_roots = [os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")]
    for root in dict.fromkeys(filter(None, pyenv_roots)):
        for version in sorted(Path(root, "versions").glob(f"{WANTED}*"), key=_newest_first):
            yield str(version / "bin" / "python")


def _find_uv() -> Optional[str]:  # noqa: UP045 - Python 3.9 knows no `str | None`
    """uv from PATH, else from PyPI into a private environment; None if neither works."""
    on_path = shutil.which("uv")
    if on_path:
        return on_path
    private = SCRATCH / "uv"
    installed = private / "bin" / "uv"
    if not installed.exists():
        say("no Python 3.13 here; fetching uv, which can bring one")
        made = subprocess.run([sys.executable, "-m", "venv", str(private)], check=False)
        if made.returncode == 0:
            pip = [str(private / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "--disable-pip-version-check", "uv"], check=False)
    return str(installed) if installed.exists() else None


def _fetched_python() -> Iterator[str]:
    uv = _find_uv()
    if uv is None:
        return
    environment = {**os.environ, "UV_PYTHON_INSTALL_DIR": str(SCRATCH / "python")}
    say("uv looks for Python 3.13")
    subprocess.run([uv, "python", "install", WANTED], env=environment, check=False)
    found = subprocess.run(
        [uv, "python", "find", WANTED], env=environment, capture_output=True, text=True, check=False
    )
    if found.returncode == 0:
        yield found.stdout.strip()


def find_python() -> str:
    """Path of a Python 3.13; if there is none, exits and says what to install."""
    for source in (_installed_pythons, _fetched_python):
        for python in source():
            if _works(python):
                return python
    sys.exit(HELP)


def _fingerprint() -> str:
    digest = hashlib.sha256(str(VENV).encode())
    digest.update(REQUIREMENTS.read_bytes() + INFRA_REQUIREMENTS.read_bytes())
    return digest.hexdigest()


def is_installed() -> bool:
    try:
        return STAMP.read_text() == _fingerprint() and VENV_PYTHON.exists()
    except OSError:
        return False


def _install(requirements: Path, *options: str) -> None:
    """Runs pip and prints one line a package; if pip fails, exits with the last lines of its output."""
    pip = [str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    with subprocess.Popen(
        [*pip, "--progress-bar", "off", *options, "--requirement", str(requirements)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        output = []
        for line in process.stdout:
            output.append(line)
            matched = re.match(r"Collecting ([\w.-]+)==(\S+)|(Installing) collected packages", line)
            if matched and matched.group(3):
                say("unpacking and compiling (a minute on a slow disk)")
            elif matched:
                say(f"{matched.group(1)} {matched.group(2)}")
    if process.returncode:
        sys.exit("".join(output[-40:]) + f"\nsetup: pip could not install {requirements.name}")


def _set_up() -> None:
    started = time.monotonic()
    if not (VENV_PYTHON.exists() and _works(str(VENV_PYTHON))):
        python = find_python()
        if VENV.exists():
            say("making .venv again: it holds no working Python 3.13")
            shutil.rmtree(VENV)
        say(f"making .venv with {python}")
        subprocess.run([python, "-m", "venv", str(VENV)], check=True)
    say(f"installing {REQUIREMENTS.name} into .venv")
    _install(REQUIREMENTS)
    say("installing infra/requirements.txt into .venv")
    _install(INFRA_REQUIREMENTS, "--no-compile")
    sources = [str(ROOT / name) for name in ("functions", "infra", "local", "operations", "shared")]
    subprocess.run([str(VENV_PYTHON), "-m", "compileall", "-q", *sources], check=False)
    STAMP.write_text(_fingerprint())
    say(f"ready after {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    SCRATCH.mkdir(exist_ok=True)
    with (SCRATCH / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another start, which is setting up")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def clean() -> None:
    """Removes everything that setup and runs made; refuses while a stack is running here."""
    if (SCRATCH / "stack.json").exists():
        sys.exit("a stack is running (.local/stack.json exists): stop it first")
    for path in [VENV, SCRATCH, *(ROOT / name for name in _CACHES)]:
        if path.exists():
            say(f"removing {path.name}")
            shutil.rmtree(path)
    for cache in ROOT.rglob("__pycache__"):
        shutil.rmtree(cache)


def main(arguments: list[str]) -> None:
    if arguments == ["--clean"]:
        clean()
        return
    if not is_installed():
        with _one_at_a_time():
            if not is_installed():
                _set_up()
    os.chdir(ROOT)
    # exec leaves no process of ours between the sender of a signal and the program.
    os.execv(str(VENV_PYTHON), [str(VENV_PYTHON), *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
