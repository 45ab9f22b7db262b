"""What a month takes: runs of timers, instances, units, and the limits of a stack."""

from datetime import UTC, datetime, timedelta

import pytest

from infra.cost.prices import CannotEstimate
from infra.cost.usage import Usage, runs_a_day, weekly_capacity
from infra.ncrontab import parse_schedule
from infra.timers import Timer, timers
from tests.infra.cost.estimates import LOAD
from tests.infra.recording import recorded, recorded_with

MONDAY = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ("*/10 * * * * *", 8640),
        ("0 */15 * * * *", 96),
        ("20 * * * * *", 1440),
        ("0 30 3 * * *", 1),
        ("0,30 0-9 * * * 1-5", 480),
        ("5/20 0 * * * *", 72),
        ("*/0 0 0 * * *", 60),  # NCRONTAB takes a step of 0 for 1
    ],
)
def test_runs_of_a_schedule(schedule: str, runs: int) -> None:
    assert runs_a_day(schedule) == runs


@pytest.mark.parametrize("schedule", ["* * * *", "x * * * * *", "60 * * * * *", "1-b * * * * *", "00:05:00"])
def test_a_schedule_that_cannot_be_read_is_an_error(schedule: str) -> None:
    with pytest.raises(CannotEstimate, match="schedule"):
        runs_a_day(schedule)


def test_instances_over_a_week() -> None:
    (setting,) = recorded("prod").of_type("Microsoft.Insights/autoscaleSettings")
    assert weekly_capacity(setting, 1) == pytest.approx((163 * 2 + 5 * 4) / 168)
    assert weekly_capacity(setting, 3) == pytest.approx((163 * 3 + 5 * 4) / 168)
    assert weekly_capacity(setting, 99) == 10, "no more than the maximum"
    premium = recorded("premium")
    (own,) = (each for each in premium.of_type("Microsoft.Insights/autoscaleSettings") if "plan" in each.name)
    assert weekly_capacity(own, 1) == pytest.approx((163 * 2 + 5 * 6) / 168)


def test_units_follow_the_bots_where_autoscale_has_them() -> None:
    premium = recorded("premium")
    assert Usage(premium, 10, LOAD).units == 2
    busy = Usage(premium, 5000, LOAD)
    assert busy.units == pytest.approx(2 + (8 - 2) * busy.connected_share)
    assert Usage(recorded("prod"), 5000, LOAD).units == 2, "it has no more as its maximum"


def test_a_stack_that_is_too_small_is_told() -> None:
    assert Usage(recorded("prod"), 1000, LOAD).warnings() == []
    (told,) = Usage(recorded("prod"), 2001, LOAD).warnings()
    assert told == "Web PubSub accepts 2,000 connections, and there are 2,001 bots: raise webpubsub_units"
    assert Usage(recorded("dev"), 20, LOAD).warnings() == [], "as Pulumi.dev.yaml says"
    talkative = LOAD.changed(heartbeat_bytes=1_000)
    (quota,) = Usage(recorded("dev"), 10, talkative).warnings()
    assert "sends 20,000 messages a day, and these bots need 20,869: change webpubsub_sku" in quota
    assert "20 connections, and there are 21 bots" in Usage(recorded("dev"), 21, LOAD).warnings()[0]
    flooded = LOAD.changed(platform_log_mb_per_resource_day=1000)
    assert "cap of 2 GB a day" in Usage(recorded("prod"), 1, flooded).warnings()[0]
    assert Usage(recorded("prod"), 1, flooded).log_gb == pytest.approx(2 * 730 / 24)


def test_a_full_unit_is_told_before_it_is_too_small() -> None:
    assert Usage(recorded("lean"), 800, LOAD).crowded() == []
    (told,) = Usage(recorded("lean"), 1000, LOAD).crowded()
    assert told.startswith("1,000 bots are 100% of the 1,000 connections that Web PubSub accepts.")
    assert "Microsoft recommends 80%" in told
    assert Usage(recorded("lean"), 1000, LOAD).warnings() == []
    full = Usage(recorded("lean"), 1001, LOAD)
    assert full.crowded() == []
    assert full.warnings() == [
        "Web PubSub accepts 1,000 connections, and there are 1,001 bots: raise webpubsub_units"
    ]


def test_a_plan_too_small_for_two_hosts_is_told() -> None:
    """Production and staging share each instance: the platform, two hosts with a worker each, a training."""
    load = LOAD.changed(platform_mb=1000, functions_host_mb=350, worker_mb=200, training_mb=300)
    assert Usage(recorded("prod"), 1, load).instance_mb == 1000 + 2 * (350 + 200) + 300
    assert Usage(recorded("premium"), 1, load).instance_mb == 1000 + 2 * (350 + 2 * 200) + 300
    small = recorded_with("lean", plan_sku="S1")
    assert Usage(small, 1, load).warnings() == [
        "S1 has 1,750 MB, and an instance with production, staging and a training uses about 2,400: "
        "raise plan_sku"
    ]
    assert Usage(recorded("dev"), 1, load).warnings() == [], "each instance of Flex Consumption is one host"


@pytest.mark.parametrize("timer", timers(), ids=lambda timer: timer.name)
def test_runs_are_those_of_the_local_host(timer: Timer) -> None:
    """The host has the project's reader of schedules, which infra may not import."""
    schedule, fired = parse_schedule(timer.schedule), 0
    moment = schedule.next_after(MONDAY - timedelta(seconds=1))
    while moment is not None and moment < MONDAY + timedelta(days=1):
        fired, moment = fired + 1, schedule.next_after(moment)
    assert runs_a_day(timer.schedule) == fired
