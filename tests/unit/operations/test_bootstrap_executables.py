"""The bootstrap runs real executables: words, standard input, environment, exit status and output arrive."""

import dataclasses
import itertools
import os
from pathlib import Path

import pytest

from operations.bootstrap.__main__ import main
from operations.cloud import Cloud
from operations.process import PYTHON, Answer, Call, run_process
from tests.support.stand_in.answers import answer
from tests.support.stand_in.executables import executables, write_client
from tests.support.stand_in.machine import OPTIONS, Machine
from tests.support.stand_in.world import World


class Tools:
    """Runs each kind of command once as a process, as the bootstrap does; `python` is the stand-in's too.

    Secrets on standard input and long commands, whose output is shown, always go to a process. The stand-in
    answers the others at once, because 270 processes take a quarter of a minute.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.ran: set[tuple[str, ...]] = set()

    def run(self, call: Call) -> Answer:
        kind = tuple(itertools.takewhile(lambda word: not word.startswith("-"), call.words))[:4]
        if kind in self.ran and not (call.stdin or call.is_shown):
            return answer(self._world, call)
        self.ran.add(kind)
        if call.words[0] == PYTHON:
            call = dataclasses.replace(call, words=("python", *call.words[1:]))
        return run_process(call)


def test_a_version_becomes_live_by_real_executables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    world, said = machine.world, machine.said
    tools = Tools(world)

    def pause(seconds: float) -> None:
        world.now += seconds

    with executables(world, tmp_path) as commands:
        policies = machine.infra / "policies" / ".venv" / "bin" / "python"
        write_client(policies, "python", str(tmp_path / "socket"))
        monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
        cloud = Cloud(tools.run, say=said.append, pause=pause, now=lambda: world.now)
        assert main(["--stack", "dev", *OPTIONS], cloud, machine.infra) == 0, "\n".join(said)
    assert {kind[0] for kind in tools.ran} >= {"az", "gh", "pulumi", "curl", PYTHON}
    deployed = world.deployed["dev"]
    assert deployed.live
    assert not deployed.is_quiet
    vault = world.vaults[deployed.outputs["key_vault"]].secrets
    # Both went through standard input.
    assert vault["smoke-key"] == f"sc_live_{deployed.licenses['smoke-test-dev']}"
    assert vault["api-key-pepper"] == world.secrets["dev signal-cloud:api_key_pepper"]
    # The output of a long command is shown while it runs.
    assert "    ok      version     0.1.0+" in capfd.readouterr().out
