"""Tools whose packages do not agree with the project's: each in an environment of its own under `.local`.

checkov pins older libraries than the app has; pulumi-policy wants an older protobuf.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from local.places import ROOT, SCRATCH
from local.setup.install_once import install_once

CHECKOV = ROOT / "tests" / "infra" / "requirements-checkov.txt"
POLICIES = ROOT / "infra" / "policies" / "requirements.txt"


class ToolMissing(Exception):
    """pip could not install; the text is what it said."""


def ensure_tool(name: str, requirements: Path, directory: Path = SCRATCH) -> Path:
    """An environment `directory/<name>` that holds the requirements, made once for each; returns its Python.

    Raises ToolMissing where pip fails.
    """
    home = directory / name
    python = home / "bin" / "python"
    needs = requirements.read_bytes()
    install_once(python, home, needs, lambda: _make_environment(python, home, requirements))
    return python


def _make_environment(python: Path, home: Path, requirements: Path) -> None:
    print(f"setup: pip installs {requirements.relative_to(ROOT)}", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    # Compiling on first use costs seconds, compiling everything costs half a minute.
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
    installed = subprocess.run(
        [*pip, "--disable-pip-version-check", "--no-input", "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        raise ToolMissing(f"pip could not install {requirements.name}:\n{installed.stderr.strip()}")
