"""Runs the bootstrap in a checkout whose tools are the stand-in, and whose clock is the world's."""

import functools
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from operations.bootstrap.__main__ import main
from operations.bootstrap.tenant import INFRA
from operations.cloud import Cloud
from operations.process import Answer, Call
from tests.support.stand_in.answers import answer
from tests.support.stand_in.world import ADDRESS, REPOSITORY, World, empty_world

OPTIONS = (
    "--yes", "--repository", REPOSITORY, "--owner", "team@example.com", "--cost-centre", "signals",
    "--name-suffix", "abc12", "--alert-emails", "a@example.com,b@example.com",
    "--deployer-addresses", ADDRESS, "--own-address", ADDRESS,
)  # fmt: skip
# Two kinds of public stacks, with and without a slot, a private one, and a second region of that.
STACKS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "public": ("dev", {}),
    "public with a slot": ("dev", {"plan: flex": "plan: dedicated", "edge: none": "edge: standard"}),
    "private": ("prod", {}),
    "second region": ("standby", {}),
}


class Snapshot(NamedTuple):
    """Everything that outlasts a run: the world, and the stacks' files."""

    world: bytes
    files: Mapping[str, bytes]


@functools.cache
def _first_region() -> Snapshot:
    """After the bootstrap of prod."""
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory), "private")
        if machine.run() != 0:
            raise RuntimeError("\n".join(machine.said))
        machine.world.log.clear()
        machine.world.made.clear()
        machine.world.changes = 0
        return machine.snapshot()


class Machine:
    """A checkout below `directory`. If `snapshots` is a list, it gets one after each change."""

    def __init__(self, directory: Path, kind: str = "public", world: World | None = None) -> None:
        self.stack, changed = STACKS[kind]
        self.infra = directory / "infra"
        self.said: list[str] = []
        self.calls: list[Call] = []
        self.snapshots: list[Snapshot] | None = None
        shutil.rmtree(self.infra, ignore_errors=True)
        self.infra.mkdir()
        text = (INFRA / self.file.name).read_text(encoding="utf-8")
        for old, new in changed.items():
            assert old in text
            text = text.replace(old, new)
        self.file.write_text(text, encoding="utf-8")
        self.world = world or empty_world()
        if kind == "second region":
            first = _first_region()
            self.restore(Snapshot(first.world, {**first.files, self.file.name: self.file.read_bytes()}))
            if world is not None:
                for fault in ("fault_at", "fault_after", "busy_every"):
                    setattr(self.world, fault, getattr(world, fault))

    @property
    def file(self) -> Path:
        return self.infra / f"Pulumi.{self.stack}.yaml"

    def run(self, *options: str) -> int:
        """The exit status of a run with the options of a tenant and these."""
        return self.run_with(*OPTIONS, *options)

    def run_with(self, *options: str) -> int:
        """The exit status of a run with these options alone."""
        cloud = Cloud(
            self._answer, dry_run="--dry-run" in options, say=self.said.append, pause=self._pause,
            now=lambda: self.world.now, has_tool=lambda _: True,
        )  # fmt: skip
        return main(["--stack", self.stack, *options], cloud, self.infra)

    def snapshot(self) -> Snapshot:
        files = {path.name: path.read_bytes() for path in self.infra.glob("*.yaml")}
        return Snapshot(msgspec.json.encode(self.world), files)

    def restore(self, snapshot: Snapshot) -> None:
        self.world = msgspec.json.decode(snapshot.world, type=World)
        for name, content in snapshot.files.items():
            (self.infra / name).write_bytes(content)

    def _answer(self, call: Call) -> Answer:
        self.calls.append(call)
        changes = self.world.changes
        answered = answer(self.world, call)
        if self.snapshots is not None and self.world.changes != changes:
            self.snapshots.append(self.snapshot())
        return answered

    def _pause(self, seconds: float) -> None:
        self.world.now += seconds
