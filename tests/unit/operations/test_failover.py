"""Moves between two regions of a stand-in, also if any command fails once, before or after its change."""

import argparse
import itertools

import pytest

from operations.cloud import Cloud
from operations.failover.__main__ import _parser, main
from operations.failover.move import Move
from operations.failover.regions import NEEDED, read_region
from operations.failover.sequences import GAP
from operations.failover.steps import steps
from operations.steps import StepFailed, run_steps
from shared.errors import SignalCloudError
from tests.support.places import ROOT
from tests.support.two_regions import Regions


def attempt(regions: Regions, *, forced: bool, dry_run: bool = False, target: str = "standby") -> list[str]:
    """Runs the command's steps on the stand-in; returns what it said."""
    said: list[str] = []
    clock = itertools.count(0, 30)
    cloud = Cloud(
        regions.run, dry_run=dry_run, say=said.append, pause=lambda _: None, now=lambda: next(clock),
        has_tool=lambda _: True,
    )  # fmt: skip
    source = "prod" if target == "standby" else "standby"
    old, new = read_region(cloud, source), read_region(cloud, target)
    move = Move(cloud, old, new, regions, is_forced=forced)
    run_steps(steps(move), dry_run=dry_run, say=said.append, now=lambda: 0.0)
    return said


def assert_moved(regions: Regions, *, forced: bool) -> None:
    standby = regions.stacks["standby"]
    assert (standby.server_role, standby.fence, standby.timers) == ("Primary", "off", "0")
    assert (standby.role, standby.app, standby.backup_days) == ("active", "Running", 30)
    assert regions.reused == [], "bots ignore a sequence that they have seen"
    assert regions.raised is forced
    assert regions.counter < 2 * GAP, "raised once, however often a step was repeated"
    if not forced:
        prod = regions.stacks["prod"]
        assert (prod.role, prod.app, prod.server_role) == ("passive", "Running", "AsyncReplica")
        assert prod.connections == 0, "a bot without a watchdog waits at the old hub for ever"


@pytest.mark.parametrize("forced", [True, False])
def test_the_passive_region_takes_over(forced: bool) -> None:
    regions = Regions(lost=forced)
    attempt(regions, forced=forced)
    assert_moved(regions, forced=forced)


@pytest.mark.parametrize("late", [False, True], ids=["before the change", "after the change"])
@pytest.mark.parametrize("forced", [True, False], ids=["forced", "planned"])
def test_any_command_may_fail_once(forced: bool, late: bool) -> None:
    whole = Regions(lost=forced)
    attempt(whole, forced=forced)
    failed = 0
    for number in range(len(whole.calls)):
        regions = Regions(lost=forced)
        regions.fails_at, regions.fails_late = number, late
        try:
            attempt(regions, forced=forced)
        except SignalCloudError:
            failed += 1
            attempt(regions, forced=forced)
        assert_moved(regions, forced=forced)
    assert failed >= len(whole.calls) // 2


@pytest.mark.parametrize("forced", [True, False])
def test_a_dry_run_changes_nothing(forced: bool) -> None:
    regions, untouched = Regions(lost=forced), Regions(lost=forced)
    said = attempt(regions, forced=forced, dry_run=True)
    assert regions.stacks == untouched.stacks
    assert (regions.licenses, regions.raised) == ("centralus", False)
    assert any("would run: az rest --method patch" in line for line in said)


def test_a_forced_move_ends_what_still_answers_in_the_old_region() -> None:
    regions = Regions(lost=False)
    attempt(regions, forced=True)
    prod = regions.stacks["prod"]
    assert (prod.app, prod.server_role, prod.connections) == ("Stopped", "AsyncReplica", 0)
    assert regions.licenses == "centralus", "a storage account whose region works is left alone"
    assert_moved(regions, forced=True)


def test_a_planned_move_needs_both_regions() -> None:
    with pytest.raises(StepFailed) as failed:
        attempt(Regions(lost=True), forced=False)
    assert failed.value.step.name == "check"


def test_there_and_back_again() -> None:
    regions = Regions(lost=False)
    attempt(regions, forced=False)
    attempt(regions, forced=False, target="prod")
    prod, standby = regions.stacks["prod"], regions.stacks["standby"]
    assert (prod.server_role, prod.role, prod.app, prod.timers) == ("Primary", "active", "Running", "0")
    assert (standby.server_role, standby.role, standby.app) == ("AsyncReplica", "passive", "Running")


def test_a_move_that_is_done_does_nothing_more() -> None:
    regions = Regions(lost=True)
    attempt(regions, forced=True)
    said = attempt(regions, forced=True)
    assert said.count("  is done already") == len([line for line in said if line.startswith("[")]) - 5
    assert_moved(regions, forced=True)


def test_the_program_has_every_output_that_a_move_needs() -> None:
    program = (ROOT / "infra" / "program.py").read_text(encoding="utf-8")
    assert [name for name in NEEDED if f'"{name}"' not in program] == []
    assert set(NEEDED) <= Regions(lost=False).stacks["prod"].outputs().keys()


def test_the_way_must_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args([])
    assert "--planned --forced is required" in capsys.readouterr().err
    assert isinstance(_parser().parse_args(["--forced"]), argparse.Namespace)


def test_the_smoke_test_needs_a_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIGNAL_CLOUD_KEY", raising=False)
    assert main(["--planned", "--yes"]) == 2
    assert "SIGNAL_CLOUD_KEY is not set" in capsys.readouterr().err


def test_a_stack_does_not_move_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--planned", "--dry-run", "--target", "prod"]) == 2
    assert "--source and --target are both prod" in capsys.readouterr().err
