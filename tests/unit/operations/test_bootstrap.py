"""The bootstrap brings a version live in an empty subscription, and says what is in its way."""

import base64
import re
from pathlib import Path

import msgspec
import pytest

from operations.process import PYTHON
from tests.support.places import ROOT
from tests.support.stand_in.machine import OPTIONS, STACKS, Machine
from tests.support.stand_in.world import (
    ADDRESS,
    OPERATOR,
    RUNNER_TOKEN,
    SUBSCRIPTION,
    Role,
    Run,
    World,
    empty_world,
    guid,
    scope_of,
)


@pytest.fixture(params=STACKS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


def test_a_version_is_live_and_people_get_alerts(machine: Machine) -> None:
    assert machine.run() == 0, "\n".join(machine.said)
    deployed = machine.world.deployed[machine.stack]
    assert deployed.live
    assert deployed.is_migrated
    assert not deployed.is_quiet
    assert f"{machine.stack} is live: {deployed.outputs['url']}" in machine.said


def test_alerts_are_quiet_until_the_smoke_test_has_passed(machine: Machine) -> None:
    assert machine.run() == 0
    log = machine.world.log

    def at(text: str) -> int:
        return next(index for index, line in enumerate(log) if text in line)

    assert at("config set alerts_quiet true") < at("pulumi up") < at("config set alerts_quiet false")
    proof = "operations.smoke" if machine.stack == "dev" else "gh workflow run"
    assert at(proof) < at("config set alerts_quiet false")


def test_every_step_says_what_it_does_and_how_long_it_takes(machine: Machine) -> None:
    assert machine.run() == 0
    steps = [line for line in machine.said if line.startswith("[")]
    assert all(re.fullmatch(r"\[\d+/\d+\] [a-z-]+: [A-Z].+ \(usually \d+ (s|min)\)", line) for line in steps)
    assert len(steps) == len({line.partition("] ")[2].partition(":")[0] for line in steps})


def test_the_runbook_names_every_step(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.run_with("--list") == 0
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    described = text[text.index("## First deployment") : text.index("**What the command cannot do.**")]
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(names) >= 18
    assert [name for name in names if f"`{name}`" not in described] == []


def test_no_secret_is_printed_or_an_argument(machine: Machine) -> None:
    assert machine.run() == 0
    world = machine.world
    (pepper,) = set(world.secrets.values())
    assert len(pepper) >= 64
    keys = [secret for vault in world.vaults.values() for secret in vault.secrets.values()]
    assert len(keys) >= 3
    seen = [*machine.said, *(word for call in machine.calls for word in call.words)]
    for secret in (pepper, *keys, RUNNER_TOKEN):
        assert not any(secret in text for text in seen)


def test_the_stacks_file_on_main_is_that_of_the_checkout(machine: Machine) -> None:
    assert machine.run() == 0
    committed = {path: base64.b64decode(text) for path, text in machine.world.files.items()}
    assert committed[f"infra/{machine.file.name}"] == machine.file.read_bytes()
    assert len(committed) == len(machine.world.deployed)
    assert "secretsprovider" in machine.file.read_text()


def test_a_workflow_that_fails_is_reported_with_its_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, "private")
    assert machine.run("--dry-run") == 0
    assert machine.run() == 0
    machine.world.deployed["prod"].live = ""
    machine.world.runners.clear()
    assert machine.run("--only", "deployment") == 1
    assert "Deploy ended with failure: https://run" in capsys.readouterr().err


def test_the_restore_drill_can_open_and_compare_exports(machine: Machine) -> None:
    assert machine.run() == 0
    world = machine.world
    variables = world.environments["restore-drill"].variables
    (app,) = (each for each in world.apps.values() if each.app_id == variables["AZURE_CLIENT_ID"])
    first = "prod" if machine.stack == "standby" else machine.stack
    account = world.deployed[first].outputs["data_storage_account_id"]
    vault = scope_of("rg-signal-cloud-pulumi", "Microsoft.KeyVault/vaults", variables["EXPORT_KEY_VAULT"])
    drill_group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-signal-cloud-{machine.stack}-drill"
    assert {
        ("Storage Table Data Contributor", drill_group),
        ("Storage Table Data Reader", account),
        ("Storage Blob Data Reader", account),
        ("Key Vault Secrets User", f"{vault}/secrets/license-export-{first}"),
    } <= {(each.role, each.scope) for each in world.roles if each.principal == app.principal}


def test_a_run_that_is_under_way_is_watched_and_no_second_one_is_started(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "private")
    assert machine.run() == 0
    world = machine.world
    world.deployed["prod"].live = ""
    world.runs.insert(0, Run(9, "prod"))
    assert machine.run("--only", "deployment") == 0
    assert [run.id for run in world.runs] == [9, 1]
    assert world.deployed["prod"].live


def test_postgres_admits_the_machine_only_while_it_is_needed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run() == 0
    assert machine.world.deployed["dev"].admitted == {}
    assert "deployer_addresses" not in machine.file.read_text()
    machine = Machine(tmp_path, "public with a slot")
    assert machine.run() == 0
    assert list(machine.world.deployed["dev"].admitted.values()) == [ADDRESS]
    assert not any("firewall-rule" in line for line in machine.world.log)


def test_a_machine_that_postgres_does_not_admit_learns_which_option_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    assert machine.run_with(*OPTIONS[:-2]) == 1
    assert "--own-address" in capsys.readouterr().err


# Dry run


def test_a_dry_run_changes_nothing_and_prints_what_a_run_does(machine: Machine) -> None:
    empty = msgspec.to_builtins(machine.world)
    assert machine.run("--dry-run") == 0
    after = msgspec.to_builtins(machine.world)
    assert isinstance(empty, dict)
    assert isinstance(after, dict)
    assert {key: after[key] for key in empty if key != "now"} == {
        key: value for key, value in empty.items() if key != "now"
    }
    planned = [line.removeprefix("  would run: ") for line in machine.said if "would run: " in line]
    assert machine.run() == 0

    def verbs(lines: list[str]) -> set[str]:
        """The commands without values, which a dry run cannot know in full."""
        plain = re.compile(r"(?:[a-z][a-z_.-]*(?: |$))+")
        return {found[0].strip() for line in lines if (found := plain.match(line))}

    # A dry run reads nothing of a stack that does not exist, so it names the list of licenses as a change.
    assert verbs(planned) - {"python -m operations.license list"} == verbs(machine.world.log)


def test_a_dry_run_of_a_finished_stack_prints_only_what_always_runs(machine: Machine) -> None:
    assert machine.run() == 0
    machine.said.clear()
    assert machine.run("--dry-run") == 0
    planned = [line.removeprefix("  would run: ") for line in machine.said if "would run: " in line]
    again = {line.partition(" --")[0] for line in planned if "policies/.venv" not in line}
    firewall = "az postgres flexible-server firewall-rule"
    assert {line for line in again if "operations.smoke" not in line} <= {
        "pulumi install", "pulumi up", "python -m operations.migrate apply",
        f"{firewall} create", f"{firewall} delete",
    }  # fmt: skip


# Rights


def test_an_owner_has_no_right_to_the_state_until_the_step_rights_gives_it(tmp_path: Path) -> None:
    """The former order of docs/operations.md: container and key before the roles."""
    machine = Machine(tmp_path)
    for step in ("providers", "group", "state"):
        assert machine.run("--only", step) == 0, "\n".join(machine.said)
    assert machine.run("--only", "key") == 1
    assert machine.world.containers == []
    assert machine.run("--only", "rights", "--only", "key") == 0
    assert machine.world.containers == ["stsigpulumiabc12/state"]


def test_the_operator_is_granted_rights_itself_because_a_new_membership_does_not_count_yet(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path)
    assert machine.run() == 0
    data = {"Storage Blob Data Contributor", "Key Vault Crypto Officer", "Storage Table Data Contributor",
            "Key Vault Secrets Officer"}  # fmt: skip
    assert data <= {each.role for each in machine.world.roles if each.principal == OPERATOR}


# What stands in the way


@pytest.mark.parametrize(
    ("world", "text"),
    [
        (empty_world(is_signed_in=False), "run `az login`"),
        (empty_world(roles=[Role("Contributor", "/", OPERATOR, guid("x"), 0)]), "must be Owner"),
        (empty_world(taken=["stsigpulumiabc12"]), "stsigpulumiabc12 is already taken"),
        (empty_world(is_protected=True), "merge infra/Pulumi.dev.yaml by a pull request"),
    ],
)
def test_an_obstacle_is_named(
    world: World, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Machine(tmp_path, world=msgspec.structs.replace(world)).run() == 1
    assert text in capsys.readouterr().err


def test_a_private_stack_is_refused_in_a_public_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Machine(tmp_path, "private", empty_world(is_public=True)).run() == 1
    assert "is public" in capsys.readouterr().err
    assert Machine(tmp_path, "public", empty_world(is_public=True)).run() == 0


def test_a_deleted_vault_is_recovered_because_its_key_still_decrypts_the_state(tmp_path: Path) -> None:
    machine = Machine(tmp_path, world=empty_world(deleted_vaults=["kv-sig-pulumi-abc12"]))
    assert machine.run() == 0
    assert "vault kv-sig-pulumi-abc12" not in machine.world.made


def test_the_state_is_not_in_the_stacks_region_and_an_existing_one_is_taken(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run() == 0
    assert machine.world.groups["rg-signal-cloud-dev"] == "centralus"
    assert machine.world.groups["rg-signal-cloud-pulumi"] == "eastus2"
    made_by_hand = empty_world(
        groups={"rg-signal-cloud-pulumi": "westeurope"}, accounts={"stsigpulumiother": True}
    )
    machine = Machine(tmp_path, world=made_by_hand)
    assert machine.run() == 0
    assert machine.world.pulumi_login.endswith("=stsigpulumiother")


def test_a_member_that_the_directory_does_not_know_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    assert machine.run("--member", "bob@example.com", "--member", "eve@example.com") == 1
    assert "no user eve@example.com" in capsys.readouterr().err
    assert machine.run("--member", "bob@example.com") == 0
    assert guid("bob") in machine.world.directory_groups["signal-cloud-dev-database-admins"].members


def test_without_an_answer_of_yes_nothing_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    assert machine.run_with(*OPTIONS[1:]) == 1
    assert "the answer was not yes" in capsys.readouterr().err
    assert machine.world.log == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (OPTIONS[:1], "values are missing: --owner"),
        ((*OPTIONS, "--name-suffix", "UPPER"), "name_suffix must be 3 to 6"),
        ((*OPTIONS, "--repository", "no slash"), "repository must be"),
        ((*OPTIONS, "--own-address", "999.1.1.1"), "own_address must be"),
        ((*OPTIONS, "--owner=--secret"), "owner must be"),
        ((*OPTIONS, "--from", "lunch"), "there is no step lunch, only tools"),
        ((*OPTIONS, "--from", "key", "--only", "rights"), "nothing is to do: rights comes before key"),
        ((*OPTIONS, "--stack", "none"), "there is no infra/Pulumi.none.yaml"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(
    options: tuple[str, ...], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    assert machine.run_with(*options) == 2
    assert text in capsys.readouterr().err
    assert machine.world.log == []


def test_the_rehearsal_is_left_to_its_workflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path)
    text = machine.file.read_text().replace("config:\n", 'config:\n  signal-cloud:protect: "false"\n', 1)
    machine.file.write_text(text)
    assert machine.run() == 2
    assert "the workflow Rehearse makes and destroys" in capsys.readouterr().err
    assert machine.world.log == []


def test_values_of_the_stacks_file_are_kept(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run() == 0
    before = machine.file.read_bytes()
    assert machine.run("--owner", "other@example.com", "--alert-emails", "b@example.com") == 0
    assert machine.file.read_bytes() == before


def test_the_list_of_steps_needs_no_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path, "private")
    assert machine.run_with("--list") == 0
    assert capsys.readouterr().out.startswith("tools ")
    assert machine.calls == []


def test_our_own_commands_run_under_this_python(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run() == 0
    modules = {call.words[2] for call in machine.calls if call.words[0] == PYTHON}
    assert modules == {
        "venv", "operations.migrate", "operations.license", "operations.package", "operations.smoke",
    }  # fmt: skip
