"""Nobody gets a right by way of a workflow, of a pushed branch, or of a name in the directory."""

from pathlib import Path

import msgspec
import pytest

from tests.support.stand_in.machine import STACKS, Machine
from tests.support.stand_in.world import App, Group, empty_world, guid


def test_who_administers_the_database_of_a_stack_gets_no_other_right_by_that(tmp_path: Path) -> None:
    """The group's members are applications of workflows too, of dev and of the restore drill."""
    machine = Machine(tmp_path)
    assert machine.run("--member", "bob@example.com") == 0
    world = machine.world
    ((name, group),) = world.directory_groups.items()
    assert name == "signal-cloud-dev-database-admins"
    assert {app.principal for app in world.apps.values()} & group.members.keys()
    assert [each for each in world.roles if each.principal == group.id] == []
    assert {each.role for each in world.roles if each.principal == guid("bob")} == {
        "Storage Blob Data Contributor", "Key Vault Crypto Officer", "Storage Table Data Contributor",
        "Key Vault Secrets Officer", "Web PubSub Service Owner",
    }  # fmt: skip


@pytest.mark.parametrize("kind", STACKS)
def test_a_workflow_with_rights_runs_only_from_main(kind: str, tmp_path: Path) -> None:
    """Each application but that of previews may write the state of all stacks."""
    machine = Machine(tmp_path, kind)
    assert machine.run() == 0
    open_to_branches = [
        name for name, each in machine.world.environments.items() if each.branches != ["main"]
    ]
    assert open_to_branches == ["preview"]


@pytest.mark.parametrize("name", ["signal-cloud-dev", "signal-cloud-preview", "signal-cloud-restore-drill"])
@pytest.mark.parametrize(
    "app",
    [
        App(guid("planted"), -100, owners=(guid("mallory"),)),
        App(guid("planted"), -100, owners=(), has_password=True),
        App(guid("planted"), -100, subjects=["repo:mallory/fork:environment:dev"]),
    ],
)
def test_an_application_that_a_stranger_made_gets_no_right(
    name: str, app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In most directories every user may make an application of any name, and keep a password of it."""
    machine = Machine(tmp_path, world=empty_world(apps={name: msgspec.structs.replace(app)}))
    assert machine.run() == 1
    assert name in capsys.readouterr().err
    principal = machine.world.apps[name].principal
    assert not any(each.principal == principal for each in machine.world.roles if principal)
    assert not any(principal in group.members for group in machine.world.directory_groups.values())


def test_a_group_that_a_stranger_made_does_not_administer_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = Group(guid("planted"), -100, owners=(guid("bob"),))
    world = empty_world(directory_groups={"signal-cloud-dev-database-admins": group})
    machine = Machine(tmp_path, world=world)
    assert machine.run() == 1
    assert f"belongs to {guid('bob')}" in capsys.readouterr().err
    assert machine.world.deployed == {}
    assert machine.run("--member", "bob@example.com") == 0
