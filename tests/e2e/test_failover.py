"""Two local regions, bots under load, and the failover command: a short rehearsal of each kind of move."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadtests.failover.__main__ import main


@pytest.fixture
def short(tmp_path: Path) -> list[str]:
    load = ["--bots", "2", "--rate", "10", "--before", "2", "--after", "2"]
    return [*load, "--json", str(tmp_path / "v.json")]


def verdict(tmp_path: Path) -> dict[str, Any]:
    (found,) = json.loads((tmp_path / "v.json").read_text())
    assert isinstance(found, dict)
    return found


def test_a_lost_region_costs_no_signal_and_no_acknowledged_trade(
    short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--mode", "forced", "--cut", "1", *short]) == 0, capsys.readouterr().out
    found = verdict(tmp_path)
    assert found["behind_signals"] > 0, "the replica lagged, so this proves what bots and publisher repeat"
    assert found["behind_trades"] > 0
    assert found["rpo_s"] > 0.5


def test_a_planned_move_leaves_nothing_behind(
    short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--mode", "planned", *short]) == 0, capsys.readouterr().out
    found = verdict(tmp_path)
    assert (found["behind_signals"], found["behind_trades"]) == (0, 0)
    assert found["signals"] > 20
