"""The workflow Deploy makes the smoke test's key by a step of the bootstrap, as its application."""

from pathlib import Path

import pytest

from tests.support.stand_in.machine import Machine
from tests.support.stand_in.world import REPOSITORY

STEP = ("--repository", REPOSITORY, "--only", "smoke-key", "--yes")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The stack before its first deployment; the rest comes from the committed file and the environment."""
    made = Machine(tmp_path, "private")
    for step in (
        "providers", "group", "drill-group", "state", "rights", "key", "program", "stack", "settings",
        "infrastructure", "operators",
    ):  # fmt: skip
        assert made.run("--only", step) == 0, "\n".join(made.said)
    monkeypatch.setenv("PULUMI_BACKEND_URL", made.world.pulumi_login)
    # The job runs inside the network, after the migration.
    made.world.deployed["prod"].is_inside = True
    made.world.deployed["prod"].is_migrated = True
    made.calls.clear()
    made.world.log.clear()
    return made


def test_the_first_deployment_makes_the_key(machine: Machine) -> None:
    assert machine.run_with(*STEP) == 0, "\n".join(machine.said)
    deployed = machine.world.deployed["prod"]
    stored = machine.world.vaults[deployed.outputs["key_vault"]].secrets["smoke-key"]
    assert stored == f"sc_live_{deployed.licenses['smoke-test-prod']}"
    assert not any(stored in line for line in machine.said)


def test_it_looks_for_no_state_and_asks_nobody_who_is_signed_in(machine: Machine) -> None:
    """The application may read neither the state's resource group nor the directory."""
    assert machine.run_with(*STEP) == 0
    asked = {" ".join(call.words[1:4]) for call in machine.calls if call.words[0] == "az"}
    assert asked == {"storage entity query", "keyvault secret show", "keyvault secret set"}


def test_a_key_of_the_other_region_stays_valid(machine: Machine) -> None:
    """The stacks of two regions share licenses; a rotation by the second would end the first one's key."""
    deployed = machine.world.deployed["prod"]
    deployed.licenses["smoke-test-standby"] = "Key777"
    assert machine.run_with(*STEP) == 0
    assert deployed.licenses["smoke-test-standby"] == "Key777"
    assert deployed.ended_keys == []


def test_later_deployments_keep_the_key(machine: Machine) -> None:
    assert machine.run_with(*STEP) == 0
    machine.world.log.clear()
    assert machine.run_with(*STEP) == 0
    assert machine.world.log == []
    assert machine.said[-1] == "  is done already"
