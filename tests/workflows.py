"""The GitHub workflows and actions of this repository, read as the tests need them."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))


@dataclass(frozen=True)
class Step:
    """A step, and where it stands: `file/job/name`."""

    place: str
    content: dict[str, Any]

    @property
    def script(self) -> str:
        return str(self.content.get("run", ""))


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(path)
    return document


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in read(path)["jobs"].items():
            yield f"{path.stem}/{name}", job


def steps() -> Iterator[Step]:
    for place, job in jobs():
        for number, step in enumerate(job.get("steps", ())):
            yield Step(f"{place}/{step.get('name') or step.get('uses') or number}", step)
    for path in ACTIONS:
        for number, step in enumerate(read(path)["runs"]["steps"]):
            yield Step(f"{path.parent.name}/{step.get('name') or number}", step)


def step(place: str) -> Step:
    (found,) = (each for each in steps() if each.place == place)
    return found


class Bench:
    """A directory in which a step's script runs, with commands that note how they were called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._commands = directory / "commands"
        self._commands.mkdir()
        self._log = directory / "calls.txt"

    def command(self, name: str, script: str = "") -> None:
        """`script` is what the command then does, as a shell would."""
        path = self._commands / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> "{self._log}"\n{script}\n')
        path.chmod(0o755)

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """As a runner does: bash, ending at the first failure, of a pipe's parts too."""
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.directory,
            env={"PATH": f"{self._commands}:{os.environ['PATH']}", **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []
