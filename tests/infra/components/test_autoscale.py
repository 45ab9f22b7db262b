"""Autoscale follows the customer's notes, and no rule undoes another under Azure's algorithm."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.components.autoscale import MEMORY_OUT_PERCENT
from infra.cost.usage import Usage
from infra.offline.recording import Resource
from tests.infra.cost.estimates import LOAD
from tests.infra.recording import recorded, recorded_with

SETTING = "Microsoft.Insights/autoscaleSettings"
PLAN_METRICS = ("CpuPercentage", "MemoryPercentage")


def plan_setting(stack: str = "prod") -> Resource:
    return next(
        each for each in recorded(stack).of_type(SETTING) if "serverfarms" in each.inputs["targetResourceUri"]
    )


def rules_of(profile: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Each rule in short: metric, comparison, threshold, window, direction, count, cool-down."""
    return {
        (
            rule["metricTrigger"]["metricName"],
            rule["metricTrigger"]["operator"],
            rule["metricTrigger"]["threshold"],
            rule["metricTrigger"]["timeWindow"],
            rule["scaleAction"]["direction"],
            rule["scaleAction"]["value"],
            rule["scaleAction"]["cooldown"],
        )
        for rule in profile["rules"]
    }


@pytest.mark.parametrize("stack", ["prod", "premium"])
def test_processor_rules_are_as_written(stack: str) -> None:
    for profile in plan_setting(stack).inputs["profiles"]:
        processor = {rule for rule in rules_of(profile) if rule[0] == "CpuPercentage"}
        assert processor == {
            ("CpuPercentage", "GreaterThan", 70, "PT5M", "Increase", "2", "PT5M"),
            ("CpuPercentage", "LessThan", 30, "PT10M", "Decrease", "1", "PT10M"),
        }


@pytest.mark.parametrize(("stack", "minimum"), [("lean", "1"), ("prod", "2")])
def test_instances_are_up_to_ten_and_one_or_one_in_each_of_two_zones(stack: str, minimum: str) -> None:
    _, usual = plan_setting(stack).inputs["profiles"]
    assert usual["capacity"] == {"minimum": minimum, "maximum": "10", "default": minimum}


def test_the_minimum_of_lean_can_be_raised() -> None:
    setting = recorded_with("lean", autoscale_minimum="2", autoscale_default="2").only(SETTING)
    assert setting.inputs["profiles"][1]["capacity"]["minimum"] == "2"


def test_rules_read_the_plan_and_web_pubsub() -> None:
    stack = recorded("prod")
    plan = stack.only("Microsoft.Web/serverfarms").id
    webpubsub = stack.only("Microsoft.SignalRService/webPubSub").id
    setting = plan_setting("prod")
    assert setting.inputs["enabled"] is True
    assert setting.inputs["targetResourceUri"] == plan
    for profile in setting.inputs["profiles"]:
        for rule in profile["rules"]:
            trigger = rule["metricTrigger"]
            wanted = plan if trigger["metricName"] in PLAN_METRICS else webpubsub
            assert trigger["metricResourceUri"] == wanted
            assert (trigger["statistic"], trigger["timeAggregation"]) == ("Average", "Average")
            assert trigger["timeGrain"] == "PT1M"
            assert rule["scaleAction"]["type"] == "ChangeCount"


def test_memory_and_connections_scale_out_and_have_no_veto_over_scaling_in() -> None:
    for profile in plan_setting("prod").inputs["profiles"]:
        directions = {
            (rule["metricTrigger"]["metricName"], rule["scaleAction"]["direction"])
            for rule in profile["rules"]
        }
        assert directions == {
            ("CpuPercentage", "Increase"),
            ("CpuPercentage", "Decrease"),
            ("MemoryPercentage", "Increase"),
            ("TotalConnectionCount", "Increase"),
        }
        connections = next(
            rule["metricTrigger"]
            for rule in profile["rules"]
            if rule["metricTrigger"]["metricName"] == "TotalConnectionCount"
        )
        assert connections["dividePerInstance"] is True


def test_idle_memory_keeps_no_second_instance_of_a_small_plan() -> None:
    """Azure does not scale in if all memory, on one instance fewer, would be above the rule's threshold."""
    lean = recorded("lean")
    size = lean.settings.compute.plan_size
    usage = Usage(lean, 1000, LOAD)
    idle_percent = 100 * usage.idle_mb / (size.memory_gb * 1000)
    assert 2 * idle_percent > MEMORY_OUT_PERCENT, "two idle instances are too much for one"
    assert 3 * idle_percent / 2 < MEMORY_OUT_PERCENT, "and three are not for two, as in prod"

    def reads_memory(setting: Resource) -> bool:
        rules = (rule for profile in setting.inputs["profiles"] for rule in profile["rules"])
        return any(rule["metricTrigger"]["metricName"] == "MemoryPercentage" for rule in rules)

    assert not reads_memory(plan_setting("lean"))
    assert reads_memory(recorded_with("lean", plan_sku="P1v3").only(SETTING))
    assert reads_memory(plan_setting("prod"))


def test_more_instances_await_the_new_york_open() -> None:
    opening, usual = plan_setting("prod").inputs["profiles"]
    weekdays = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    zone = "Eastern Standard Time"
    assert opening["recurrence"] == {
        "frequency": "Week",
        "schedule": {"timeZone": zone, "days": weekdays, "hours": [9], "minutes": [15]},
    }
    assert usual["recurrence"] == {
        "frequency": "Week",
        "schedule": {"timeZone": zone, "days": weekdays, "hours": [10], "minutes": [15]},
    }
    assert int(opening["capacity"]["minimum"]) > int(usual["capacity"]["minimum"])
    assert int(opening["capacity"]["default"]) >= int(opening["capacity"]["minimum"])
    assert opening["capacity"]["maximum"] == usual["capacity"]["maximum"]
    assert opening["rules"] == usual["rules"]


def test_the_closing_profile_has_the_name_that_azure_knows_it_by() -> None:
    opening, usual = plan_setting("prod").inputs["profiles"]
    assert json.loads(usual["name"]) == {
        "name": "Auto created default scale condition",
        "for": opening["name"],
    }
    assert usual["name"] == '{"name":"Auto created default scale condition","for":"New York open"}'


@pytest.mark.parametrize("day", ["2026-01-14", "2026-07-15"])
def test_the_profile_covers_the_open_in_summer_and_winter(day: str) -> None:
    # Windows' Eastern Standard Time is New York time, with daylight saving time.
    opening, usual = plan_setting("prod").inputs["profiles"]
    assert opening["recurrence"]["schedule"]["timeZone"] == "Eastern Standard Time"
    new_york = ZoneInfo("America/New_York")
    date = datetime.fromisoformat(day)
    begins, ends = (
        date.replace(
            hour=profile["recurrence"]["schedule"]["hours"][0],
            minute=profile["recurrence"]["schedule"]["minutes"][0],
            tzinfo=new_york,
        ).astimezone(UTC)
        for profile in (opening, usual)
    )
    bell = date.replace(hour=9, minute=30, tzinfo=new_york).astimezone(UTC)
    assert bell - begins == timedelta(minutes=15)
    assert ends - bell == timedelta(minutes=45)


def test_web_pubsub_scales_where_its_tier_can() -> None:
    stack = recorded("premium")
    webpubsub = stack.only("Microsoft.SignalRService/webPubSub")
    (setting,) = (each for each in stack.of_type(SETTING) if each.inputs["targetResourceUri"] == webpubsub.id)
    (profile,) = setting.inputs["profiles"]
    assert profile["capacity"] == {"minimum": "2", "maximum": "10", "default": "2"}
    assert rules_of(profile) == {
        ("ConnectionQuotaUtilization", "GreaterThan", 70, "PT5M", "Increase", "1", "PT5M"),
        ("ConnectionQuotaUtilization", "LessThan", 30, "PT30M", "Decrease", "1", "PT30M"),
    }
    assert webpubsub.inputs["sku"]["tier"] == "Premium"
    assert "sku.capacity" in webpubsub.ignore_changes
    assert len(recorded("prod").of_type(SETTING)) == 1
    assert not recorded("prod").only("Microsoft.SignalRService/webPubSub").ignore_changes


@pytest.mark.parametrize("variant", ["dev", "prod-flex"])
def test_flex_consumption_has_no_autoscale_setting(variant: str) -> None:
    assert not recorded(variant).of_type(SETTING)


def test_an_update_leaves_the_number_of_instances_to_autoscale() -> None:
    assert recorded("prod").only("Microsoft.Web/serverfarms").ignore_changes == ("sku.capacity",)


def wants(rule: dict[str, Any], metrics: dict[str, float]) -> bool:
    trigger = rule["metricTrigger"]
    value = metrics[trigger["metricName"]]
    threshold = float(trigger["threshold"])
    return value > threshold if trigger["operator"] == "GreaterThan" else value < threshold


def metrics_at(instances: int, load: dict[str, float]) -> dict[str, float]:
    """The metrics for a number of instances, which share the load but not what an idle process needs."""
    return {
        "CpuPercentage": load["processor"] / instances,
        "MemoryPercentage": load["memory_at_rest"] + load["memory_of_work"] / instances,
        "TotalConnectionCount": load["connections"] / instances,
    }


def azure_scales(profile: dict[str, Any], instances: int, load: dict[str, float]) -> int:
    """One decision as Azure documents it: out if any rule asks, in if all ask and none would undo it."""
    low, high = int(profile["capacity"]["minimum"]), int(profile["capacity"]["maximum"])
    out = [rule for rule in profile["rules"] if rule["scaleAction"]["direction"] == "Increase"]
    inward = [rule for rule in profile["rules"] if rule["scaleAction"]["direction"] == "Decrease"]
    metrics = metrics_at(instances, load)
    firing = [int(rule["scaleAction"]["value"]) for rule in out if wants(rule, metrics)]
    if firing:
        return min(high, instances + max(firing))
    if all(wants(rule, metrics) for rule in inward):
        fewer = max(low, instances - max(int(rule["scaleAction"]["value"]) for rule in inward))
        # Azure estimates every metric as a sum that fewer instances share.
        expected = {name: value * instances / fewer for name, value in metrics.items()}
        if not any(wants(rule, expected) for rule in out):
            return fewer
    return instances


loads = st.fixed_dictionaries(
    {
        "processor": st.floats(0, 1200),
        "memory_at_rest": st.floats(0, 100),
        "memory_of_work": st.floats(0, 400),
        "connections": st.floats(0, 12_000),
    }
)


@given(load=loads, instances=st.integers(1, 10))
def test_under_a_steady_load_the_number_of_instances_comes_to_rest(
    load: dict[str, float], instances: int
) -> None:
    for profile in plan_setting("prod").inputs["profiles"]:
        count = max(instances, int(profile["capacity"]["minimum"]))
        seen = [count]
        for _ in range(30):
            count = azure_scales(profile, count, load)
            seen.append(count)
        assert seen[-1] == seen[-2], f"never comes to rest: {seen}"
        turns = sum((b - a) * (c - b) < 0 for a, b, c in zip(seen, seen[1:], seen[2:], strict=False))
        assert turns <= 1, f"goes up and down: {seen}"


@given(instances=st.integers(1, 10), memory=st.floats(0, 45))
def test_when_the_bots_are_gone_the_minimum_is_reached(instances: int, memory: float) -> None:
    idle = {"processor": 5.0, "memory_at_rest": memory, "memory_of_work": 0.0, "connections": 0.0}
    for profile in plan_setting("prod").inputs["profiles"]:
        low = int(profile["capacity"]["minimum"])
        count = max(instances, low)
        for _ in range(30):
            count = azure_scales(profile, count, idle)
        assert count == low


@given(instances=st.integers(1, 10), memory=st.floats(0, 60))
def test_memory_at_rest_holds_no_more_than_the_default(instances: int, memory: float) -> None:
    """For one instance Azure doubles the idle memory of two, so two may stay, but no more."""
    idle = {"processor": 5.0, "memory_at_rest": memory, "memory_of_work": 0.0, "connections": 0.0}
    _, usual = plan_setting("prod").inputs["profiles"]
    count = instances
    for _ in range(30):
        count = azure_scales(usual, count, idle)
    assert count <= int(usual["capacity"]["default"])
