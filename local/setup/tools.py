"""Installs tools whose packages conflict with the project's, each in an environment of its own in `.local`.

checkov pins older libraries than the app has; pulumi-policy needs an older protobuf.
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
    """pip could not install; the text holds its output."""


def ensure_tool(name: str, requirements: Path, directory: Path = SCRATCH) -> Path:
    """The Python of the environment `directory/<name>`, which is made again only if the requirements change.

    Raises ToolMissing if pip fails.
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
    # Compiling on first use costs seconds; compiling everything would cost half a minute.
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
    installed = subprocess.run(
        [*pip, "--disable-pip-version-check", "--no-input", "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        raise ToolMissing(f"pip could not install {requirements.name}:\n{installed.stderr.strip()}")
