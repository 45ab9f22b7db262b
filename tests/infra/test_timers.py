"""The table of timers is what the app, its sample settings and every stack have."""

import json
from pathlib import Path

import pytest

from infra.timers import timers
from tests.infra.recording import VARIANTS, recorded, recorded_with
from tests.support.app import functions

ROOT = Path(__file__).resolve().parents[2]


def schedules_in(variant: str) -> dict[str, str]:
    """Schedules among the app's settings."""
    site = recorded(variant).only("Microsoft.Web/sites").inputs["siteConfig"]
    return {each["name"]: each["value"] for each in site["appSettings"] if "_SCHEDULE" in each["name"]}


def test_every_trigger_reads_the_setting_that_the_table_names() -> None:
    read = {
        name: binding.schedule
        for name, function in functions().items()
        for binding in function.get_bindings()
        if getattr(binding, "schedule", None)
    }
    assert read == {timer.name: f"%{timer.setting}%" for timer in timers()}


def test_every_row_says_what_the_timer_is_for() -> None:
    assert len({timer.setting for timer in timers()}) == len(timers())
    assert all(len(timer.purpose.split()) > 3 for timer in timers())


def test_the_sample_settings_hold_the_default_schedules() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    held = {name: value for name, value in sample.items() if name.endswith("_SCHEDULE")}
    assert held == {timer.setting: timer.schedule for timer in timers()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_stack_sets_every_schedule(variant: str) -> None:
    assert schedules_in(variant) == dict(recorded(variant).settings.compute.schedules)
    assert set(schedules_in(variant)) == {timer.setting for timer in timers()}


def test_a_schedule_that_a_stack_does_not_give_is_the_table_s() -> None:
    assert schedules_in("prod") == {timer.setting: timer.schedule for timer in timers()}


def test_a_schedule_that_a_stack_gives_reaches_the_app() -> None:
    changed = recorded_with("prod", upkeep_schedule="0 15 4 * * *").settings.compute.schedules
    assert changed["UPKEEP_SCHEDULE"] == "0 15 4 * * *"
    assert changed["ENGINE_SCHEDULE"] == "*/10 * * * * *"
