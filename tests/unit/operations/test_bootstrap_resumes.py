"""The bootstrap continues after a failure at any point, and ends as an undisturbed run does."""

import base64
import functools
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.sealing import public_key_of
from tests.support.stand_in.machine import STACKS, Machine, Snapshot
from tests.support.stand_in.world import World, empty_world

# Times, and what belongs to the way and not to its end.
_PASSING = (
    "now", "changes", "fault_at", "fault_after", "busy_every", "refused_once", "log", "made", "postgres_busy",
    "pulumi_login",
)  # fmt: skip


def end_of(world: World) -> dict[str, Any]:
    """What a run leaves behind, without times, random secrets, and the ids of replaced keys."""
    found = msgspec.to_builtins(world)
    assert isinstance(found, dict)
    for name in _PASSING:
        del found[name]
    for role in found["roles"]:
        del role["since"]
    for each in (*found["directory_groups"].values(), *found["apps"].values()):
        del each["since"]
    for group in found["directory_groups"].values():
        group["members"] = sorted(group["members"])
    found["providers"] = sorted(found["providers"])
    found["secrets"] = sorted(found["secrets"])
    for path, text in found["files"].items():
        config = yaml.safe_load(base64.b64decode(text))["config"]
        stack = "prod" if "signal-cloud:primary_postgres_id" in config else path.split(".")[1]
        (vault,) = (each for name, each in found["vaults"].items() if name.startswith("kv-sig-pulumi"))
        # Whatever is exported can be opened.
        private = vault["secrets"][f"license-export-{stack}"]
        assert config["signal-cloud:license_export_key"] == public_key_of(private)
    for vault in found["vaults"].values():
        vault["secrets"] = dict.fromkeys(sorted(vault["secrets"])) | {
            name: value for name, value in vault["secrets"].items() if name == "smoke-key"
        }
    found["files"] = sorted(found["files"])
    for run in found["runs"]:
        del run["polls"]
    for run in found["runs"]:
        del run["files"]
    for deployed in found["deployed"].values():
        vault = found["vaults"][deployed["outputs"]["key_vault"]]["secrets"]
        # The key in the vault is the license's valid one, whichever that is.
        (key,) = deployed["licenses"].values()
        assert vault["smoke-key"] == f"sc_live_{key}"
        assert key not in deployed["ended_keys"]
        found["vaults"][deployed["outputs"]["key_vault"]]["secrets"] = sorted(vault)
        deployed["licenses"] = sorted(deployed["licenses"])
        del deployed["ended_keys"]
    return found


@functools.cache
def undisturbed(kind: str) -> tuple[dict[str, Any], list[Snapshot]]:
    """The end of a run without a fault, and a snapshot after each of its changes."""
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory), kind)
        machine.snapshots = []
        assert machine.run() == 0, "\n".join(machine.said)
        return end_of(machine.world), machine.snapshots


def assert_made_once(world: World) -> None:
    # A file is committed again when its content has changed.
    assert {what: times for what, times in world.made.items() if times > 1} == {}


@pytest.mark.parametrize("kind", STACKS)
def test_a_run_that_stops_after_any_change_is_completed_by_the_next_one(kind: str, tmp_path: Path) -> None:
    """Also after a kill: only Azure, GitHub, Pulumi and the stack's file know of the former run."""
    end, snapshots = undisturbed(kind)
    machine = Machine(tmp_path, kind)
    for number, snapshot in enumerate(snapshots):
        machine.restore(snapshot)
        machine.said.clear()
        assert machine.run() == 0, f"after change {number}:\n" + "\n".join(machine.said)
        assert end_of(machine.world) == end, number
        assert_made_once(machine.world)


@given(
    kind=st.sampled_from(sorted(STACKS)),
    share=st.floats(0, 1),
    has_effect=st.booleans(),
    busy_every=st.sampled_from([0, 2, 3, 7]),
)
@settings(max_examples=40, deadline=None)
def test_a_change_that_fails_before_or_after_its_effect_is_made_good(
    kind: str, share: float, has_effect: bool, busy_every: int
) -> None:
    """The answer is lost, so nobody knows whether the change was made; Azure is busy now and then."""
    end, snapshots = undisturbed(kind)
    at = int(share * (len(snapshots) - 1))
    with tempfile.TemporaryDirectory() as directory:
        world = empty_world(fault_at=at, fault_after=has_effect, busy_every=busy_every)
        machine = Machine(Path(directory), kind, world)
        assert machine.run() == 1, at
        machine.world.fault_at = -1
        assert machine.run() == 0, "\n".join(machine.said)
        assert end_of(machine.world) == end
        assert_made_once(machine.world)


@pytest.mark.parametrize("kind", STACKS)
def test_a_run_after_a_complete_one_makes_nothing(kind: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, kind)
    assert machine.run() == 0
    before = machine.snapshot()
    made, logged = dict(machine.world.made), len(machine.world.log)
    assert machine.run() == 0
    assert machine.world.made == made
    assert machine.snapshot().files == before.files
    # What always runs, because only the run itself can tell that nothing is left to do.
    again = [" ".join(line.split()[:3]) for line in machine.world.log[logged:]]
    known = {
        "pulumi install --cwd", "python -m venv", "pulumi up --policy-pack", "python -m operations.migrate",
        "python -m operations.smoke", "az postgres flexible-server",
    }  # fmt: skip
    assert {line for line in again if "policies/.venv/bin/python" not in line} <= known
    assert again.count("pulumi up --policy-pack") == 1


def test_an_interruption_is_clean_and_the_next_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, _ = undisturbed("public")
    machine = Machine(tmp_path)
    answer = machine._answer

    def interrupted(call: Any) -> Any:
        if call.words[:2] == ("pulumi", "up"):
            raise KeyboardInterrupt
        return answer(call)

    monkeypatch.setattr(machine, "_answer", interrupted)
    assert machine.run() == 130
    assert machine.said[-1].endswith("continues with infrastructure")
    monkeypatch.undo()
    assert machine.run() == 0
    assert end_of(machine.world) == end
