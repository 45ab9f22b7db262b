"""The GitHub workflows and actions of this repository, read as the tests need them."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.places import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DEPENDABOT = ROOT / ".github" / "dependabot.yml"
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
# What a runner on Linux makes of a shell's name, and of none.
_SHELLS: dict[str | None, list[str]] = {
    None: ["bash", "-e"],
    "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"],
}


@dataclass(frozen=True)
class Step:
    """A step, and where it stands: `file/job/name`; `shell` is what runs its script, if anything says so."""

    place: str
    content: dict[str, Any]
    shell: str | None

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
    for path in WORKFLOWS:
        workflow = read(path)
        for name, job in workflow["jobs"].items():
            for number, step in enumerate(job.get("steps", ())):
                place = f"{path.stem}/{name}/{step.get('name') or step.get('uses') or number}"
                yield Step(place, step, _shell(step, job, workflow))
    for path in ACTIONS:
        for number, step in enumerate(read(path)["runs"]["steps"]):
            yield Step(f"{path.parent.name}/{step.get('name') or number}", step, step.get("shell"))


def _shell(step: dict[str, Any], *around: dict[str, Any]) -> str | None:
    """The step's own, else the innermost default of what is `around` it."""
    said = [step, *(each.get("defaults", {}).get("run", {}) for each in around)]
    return next((str(each["shell"]) for each in said if "shell" in each), None)


STEPS = list(steps())


def step(place: str) -> Step:
    (found,) = (each for each in STEPS if each.place == place)
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

    def run(self, step: Step, **variables: str) -> subprocess.CompletedProcess[str]:
        """As a runner does: ends at the first failure, of a pipe's parts too where bash is named."""
        return subprocess.run(
            [*_SHELLS[step.shell], "-c", step.script],
            cwd=self.directory,
            env={"PATH": f"{self._commands}:{os.environ['PATH']}", **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []
