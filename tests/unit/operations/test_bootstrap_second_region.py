"""The bootstrap of a second region, after that of the first one."""

from pathlib import Path

import pytest

from tests.support.stand_in.machine import Machine
from tests.support.stand_in.world import REPOSITORY


def test_the_first_region_knows_the_second_before_anything_runs_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "second region")
    assert machine.run() == 0, "\n".join(machine.said)
    first, second = machine.world.deployed["prod"], machine.world.deployed["standby"]
    assert first.second_origin == second.outputs["app_host"]
    assert [run.stack for run in machine.world.runs] == ["standby", "prod", "prod"]
    assert not second.is_quiet
    assert second.outputs["data_storage_account"] == first.outputs["data_storage_account"]
    # Owner, addresses and administrators are those of the first region.
    assert machine.run_with("--yes", "--repository", REPOSITORY, "--only", "settings") == 0


def test_a_second_region_without_a_first_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, "second region")
    del machine.world.deployed["prod"]
    assert machine.run() == 1
    assert "The stack prod has no output postgres_server_id" in capsys.readouterr().err


def test_a_first_region_whose_file_is_older_here_is_not_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commit would take back what others have merged."""
    machine = Machine(tmp_path, "second region")
    path = machine.infra / "Pulumi.prod.yaml"
    path.write_bytes(path.read_bytes() + b"\n")
    merged = machine.world.files["infra/Pulumi.prod.yaml"]
    assert machine.run() == 1
    assert "run git pull" in capsys.readouterr().err
    assert machine.world.files["infra/Pulumi.prod.yaml"] == merged
