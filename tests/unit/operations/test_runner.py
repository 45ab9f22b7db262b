"""The registration of a runner: the token stays out of sight, the machine runs it, GitHub sees it."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from operations.cloud import Cloud
from operations.process import Answer, Call
from operations.runner import RunnerPlace, is_registered, main, send_jobs_to_runner

TOKEN = "AABBCC-the-token"
PLACE = RunnerPlace("prod", "rg-signal-cloud-prod", "vm-signal-cloud-prod", "acme/signals")
VM = "/subscriptions/s/resourceGroups/rg-signal-cloud-prod/providers/Microsoft.Compute/virtualMachines/vm"
OUTPUTS = {"resource_group": PLACE.resource_group, "operations_machine": PLACE.machine}


@dataclass
class World:
    """A stack, its machine, and the repository: enough of `pulumi`, `az` and `gh` to register a runner."""

    outputs: dict[str, str] = field(default_factory=lambda: dict(OUTPUTS))
    ends_as: str = "Succeeded"
    polls: int = 2
    calls: list[Call] = field(default_factory=list[Call])
    command: dict[str, Any] | None = None
    commands: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    runners: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    variables: dict[str, str] = field(default_factory=dict[str, str])
    time: float = 0.0

    def run(self, call: Call) -> Answer:
        self.calls.append(call)
        tools = {"pulumi": self._pulumi, "az": self._az, "gh": self._gh}
        return tools[call.words[0]](call)

    def _pulumi(self, _call: Call) -> Answer:
        return Answer(0, json.dumps(self.outputs))

    def _az(self, call: Call) -> Answer:
        if call.words[1:3] == ("vm", "show"):
            return Answer(0, json.dumps({"id": VM, "location": "centralus"}))
        method = call.words[call.words.index("--method") + 1]
        url = call.words[call.words.index("--url") + 1]
        assert url.startswith(f"https://management.azure.com{VM}/runCommands/register-runner?api-version=")
        return {"put": self._az_put, "get": self._az_get, "delete": self._az_delete}[method](call)

    def _az_put(self, call: Call) -> Answer:
        self.command = json.loads(call.stdin)
        self.commands.append(json.loads(call.stdin))
        return Answer(0, "{}")

    def _az_get(self, _call: Call) -> Answer:
        self.polls -= 1
        state = "Running" if self.polls > 0 else self.ends_as
        if state == "Succeeded":
            assert self.command is not None
            given = {each["name"]: each["value"] for each in self.command["properties"]["parameters"]}
            self.runners = [{"name": given["RUNNER_LABEL"], "status": "online"}]
        view = {"executionState": state, "error": "config.sh said no"}
        return Answer(0, json.dumps({"properties": {"instanceView": view}}))

    def _az_delete(self, _call: Call) -> Answer:
        self.command = None
        return Answer(0)

    def _gh(self, call: Call) -> Answer:
        if call.words[1] == "variable":
            self.variables[call.words[3]] = call.words[-1]
            return Answer(0)
        if call.words[-1].endswith("registration-token"):
            return Answer(0, json.dumps({"token": TOKEN}))
        if "/variables/" in call.words[-1]:
            name = call.words[-1].rsplit("/", 1)[-1]
            if name not in self.variables:
                return Answer(1, error="gh: Not Found (HTTP 404)")
            return Answer(0, json.dumps({"name": name, "value": self.variables[name]}))
        return Answer(0, json.dumps({"runners": self.runners}))

    def pause(self, seconds: float) -> None:
        self.time += seconds

    def cloud(self, *, dry_run: bool = False) -> Cloud:
        return Cloud(
            self.run, dry_run=dry_run, say=lambda _: None, pause=self.pause, now=lambda: self.time,
            has_tool=lambda _: True,
        )  # fmt: skip


def register(world: World, *, dry_run: bool = False) -> int:
    arguments = ["--stack", "prod", "--repository", PLACE.repository]
    return main([*arguments, *(["--dry-run"] if dry_run else [])], world.cloud(dry_run=dry_run))


def test_the_runner_is_online_and_gets_the_stacks_jobs() -> None:
    world = World()
    assert register(world) == 0
    assert is_registered(world.cloud(), PLACE)
    assert json.loads(world.variables["RUNNERS"]) == {"prod": "signal-cloud-prod"}
    assert world.command is None, "the run command stays, and Azure allows only a few"


def test_the_token_is_protected_and_in_no_argument() -> None:
    world = World()
    assert register(world) == 0
    assert not any(TOKEN in word for call in world.calls for word in call.words)
    (command,) = world.commands
    assert command["properties"]["protectedParameters"] == [{"name": "REGISTRATION_TOKEN", "value": TOKEN}]
    assert TOKEN not in json.dumps(command["properties"]["parameters"])
    assert command["properties"]["source"] == {"script": "exec /usr/local/sbin/register-runner"}


@pytest.mark.parametrize("ends_as", ["Failed", "TimedOut", "Canceled"])
def test_a_registration_that_fails_says_why_and_sends_no_jobs(
    ends_as: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(ends_as=ends_as)
    assert register(world) == 1
    told = capsys.readouterr().err
    assert f"ended as {ends_as}" in told
    assert "config.sh said no" in told
    assert not world.variables


def test_it_does_not_wait_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert register(World(polls=10_000)) == 1
    assert "waited 2100 s" in capsys.readouterr().err


def test_other_stacks_keep_their_runners() -> None:
    world = World(variables={"RUNNERS": '{"premium": "signal-cloud-premium"}'})
    send_jobs_to_runner(world.cloud(), PLACE)
    assert json.loads(world.variables["RUNNERS"]) == {
        "premium": "signal-cloud-premium",
        "prod": "signal-cloud-prod",
    }
    calls = len(world.calls)
    send_jobs_to_runner(world.cloud(), PLACE)
    assert not any("set" in call.words for call in world.calls[calls:]), "nothing is left to do"


def test_a_dry_run_changes_nothing() -> None:
    world = World()
    assert register(world, dry_run=True) == 0
    assert not world.runners
    assert not world.variables
    assert world.command is None


def test_a_stack_without_a_machine_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert register(World(outputs={"resource_group": "rg"})) == 1
    assert "pulumi config set operations_machine true" in capsys.readouterr().err


def test_a_repository_has_an_owner(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--stack", "prod", "--repository", "signals"])
    assert "is not owner/name" in capsys.readouterr().err
