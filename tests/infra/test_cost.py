"""The estimate of a month: complete, reckoned right, and the same in README.md."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra import cost
from infra.arm_types import ARM_TYPES
from infra.cost_report import remarks, too_small
from infra.metering import FREE, METERS, Estimate, estimate
from infra.prices import LOAD_FILE, PRICES_FILE, CannotEstimate, PriceTable, read_load, read_prices
from infra.recording import Recording
from infra.stack_config import STACKS
from infra.usage import Usage, runs_a_day, weekly_capacity
from tests.infra.recording import VARIANTS, recorded, recorded_with

PRICES, LOAD = read_prices(), read_load()


def reckoned(variant: str, users: int = 1000) -> Estimate:
    return estimate(recorded(variant), users, LOAD, PRICES)


@pytest.fixture(autouse=True)
def _recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes the recordings that all tests share, and makes none of its own."""
    monkeypatch.setattr(cost, "record_stack", recorded)


def usd(found: Estimate, key: str) -> float:
    return sum(each.usd for each in found.charges if each.price.key == key)


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def test_every_resource_is_priced_or_declared_free(stack: Recording) -> None:
    found = estimate(stack, 100, LOAD, PRICES)
    charged = {each.resource.urn for each in found.charges}
    free = {each.urn for each in found.free}
    assert charged | free == {each.urn for each in stack.resources}
    assert not charged & free
    assert all(each.quantity >= 0 for each in found.charges)


def test_nothing_is_both_priced_and_free_and_every_free_type_says_why() -> None:
    assert not METERS.keys() & FREE.keys()
    assert all(reason.strip() for reason in FREE.values())
    known = {each.type for each in ARM_TYPES.values()}
    assert METERS.keys() | FREE.keys() <= known


def test_a_type_without_a_price_is_an_error_and_never_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {kind: meter for kind, meter in METERS.items() if kind != "Microsoft.Web/serverfarms"}
    monkeypatch.setattr("infra.metering.METERS", kept)
    with pytest.raises(
        CannotEstimate, match=r"Microsoft\.Web/serverfarms is neither priced nor declared free"
    ):
        reckoned("prod")


@pytest.mark.parametrize(
    ("key", "value", "missing"),
    [
        ("plan_sku", "P3v3", r"plan\.P3v3"),
        ("redis_sku", "MemoryOptimized_M10", r"redis\.MemoryOptimized_M10"),
        ("postgres_sku", "Standard_E2ds_v4", r"postgres\.Standard_E2ds_v4"),
        ("location", "westeurope", "prices are those of eastus and centralus, not of westeurope"),
    ],
)
def test_a_size_or_a_region_without_a_price_is_an_error(key: str, value: str, missing: str) -> None:
    changed = recorded_with("prod", **{key: value})
    with pytest.raises(CannotEstimate, match=missing):
        estimate(changed, 10, LOAD, PRICES)


def test_all_that_is_missing_is_told_at_once() -> None:
    few = PriceTable(PRICES.regions, {key: PRICES.prices[key] for key in ("network.zone", "alert.metric")})
    with pytest.raises(CannotEstimate) as told:
        estimate(recorded("prod"), 10, LOAD, few)
    lines = str(told.value).splitlines()
    assert len(lines) == len(set(lines)) > 15


def test_prod_by_hand() -> None:
    """730 hours; two servers and disks of 64 GB, two nodes, two units, eight endpoints, seven zones."""
    prod = reckoned("prod", users=1)
    assert usd(prod, "postgres.Standard_D2ds_v4") == pytest.approx(2 * 730 * 0.178)
    assert usd(prod, "postgres.storage") == pytest.approx(2 * 64 * 0.115)
    assert usd(prod, "redis.Balanced_B1") == pytest.approx(2 * 730 * 0.032)
    assert usd(prod, "webpubsub.Standard_S1") == pytest.approx(2 * 730 / 24 * 1.61)
    assert usd(prod, "network.endpoint") == pytest.approx(8 * 730 * 0.01)
    assert usd(prod, "network.zone") == pytest.approx(7 * 0.5)
    assert usd(prod, "edge.Standard_AzureFrontDoor") == 35
    assert usd(prod, "alert.metric") == pytest.approx(18 * 0.1)
    assert usd(prod, "alert.log.PT5M") == pytest.approx(8 * 1.5)
    # Five places, every five minutes.
    assert usd(prod, "availability.test") == pytest.approx(5 * 12 * 730 * 0.000645)
    # One instance, and three more for five of a week's 168 hours.
    assert usd(prod, "plan.P0v3") == pytest.approx((1 + 3 * 5 / 168) * 730 * 0.085)
    assert usd(prod, "webpubsub.messages") == 0
    # The engine's, relay's, heartbeat's, training's, licenses' and upkeep's runs of a day.
    runs = 8640 + 17280 + 8640 + 96 + 1440 + 1
    assert usd(prod, "blob_writes.Standard_ZRS") == pytest.approx(runs * 730 / 24 / 10_000 * 0.0625)


def test_messages_by_hand() -> None:
    """A thousand bots, five symbols: heartbeats of 212 bytes every 10 s for 23 h of 21 days, and signals."""
    load = LOAD.changed(symbols_per_bot=5, sessions_per_month=21, connected_hours_per_session=23)
    load = load.changed(heartbeat_bytes=212, signal_bytes=556, confidences_per_session=11)
    found = estimate(recorded("prod"), 1000, load, PRICES)
    pushed = 1000 * 5 * 21 * (8280 * 212 + 11 * 556)
    assert usd(found, "webpubsub.messages") == pytest.approx((pushed / 2000 - 2_000_000 * 21) / 1e6)
    assert usd(found, "network.egress") == pytest.approx((pushed / 1e9 - 100) * 0.087)


def test_flex_pays_a_second_a_run_at_least() -> None:
    dev = reckoned("dev", users=1)
    # Three timers a minute, a heartbeat every 20 seconds, training every quarter of an hour, upkeep.
    runs = 3 * 1440 + 3 * 1440 + 96 + 1
    executions = runs * 730 / 24 + dev.usage.requests
    assert usd(dev, "flex.execution_time") == pytest.approx((executions * 2 - 100_000) * 0.000026)
    assert not [each for each in dev.charges if each.price.key.startswith("plan.")]


def test_a_budget_that_would_alert_is_told() -> None:
    tight = estimate(recorded_with("prod", budget_usd="800"), 1000, LOAD, PRICES)
    share = tight.usd / 800
    told = f"The stack's budget_usd is 800: {share:.0%} of it would be used, and it alerts at 80%."
    assert told in list(remarks(tight, LOAD.purposes["prod"]))


@pytest.mark.parametrize("stack", STACKS)
def test_a_stacks_own_budget_does_not_alert_for_the_bots_it_is_for(stack: str) -> None:
    assert (
        reckoned(stack, LOAD.purposes[stack].users).usd < 0.8 * recorded(stack).settings.monitoring.budget_usd
    )


def test_what_high_availability_and_private_endpoints_cost() -> None:
    prod = reckoned("prod")
    alone = estimate(recorded_with("prod", postgres_high_availability="false"), 1000, LOAD, PRICES)
    # Its server and its disk.
    assert prod.usd - alone.usd == pytest.approx(730 * 0.178 + 64 * 0.115, abs=0.01)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=50, deadline=None)
@given(users=st.integers(1, 20_000), more=st.integers(1, 20_000))
def test_more_bots_never_cost_less(variant: str, users: int, more: int) -> None:
    few, many = reckoned(variant, users), reckoned(variant, users + more)
    assert many.usd >= few.usd - 1e-9


@settings(max_examples=50, deadline=None)
@given(
    factor=st.floats(1, 50),
    figure=st.sampled_from(sorted(set(LOAD.figures) - {"sessions_per_month", "connected_hours_per_session"})),
)
def test_more_of_anything_never_costs_less(factor: float, figure: str) -> None:
    more = LOAD.changed(**{figure: LOAD[figure] * factor})
    assert estimate(recorded("prod"), 700, more, PRICES).usd >= reckoned("prod", 700).usd - 1e-9


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ("*/10 * * * * *", 8640),
        ("0 */15 * * * *", 96),
        ("20 * * * * *", 1440),
        ("0 30 3 * * *", 1),
        ("0,30 0-9 * * * 1-5", 480),
        ("5/20 0 * * * *", 72),
    ],
)
def test_runs_of_a_schedule(schedule: str, runs: int) -> None:
    assert runs_a_day(schedule) == runs


@pytest.mark.parametrize("schedule", ["* * * *", "x * * * * *", "*/0 * * * * *", "1-b * * * * *"])
def test_a_schedule_that_cannot_be_read_is_an_error(schedule: str) -> None:
    with pytest.raises(CannotEstimate, match="schedule"):
        runs_a_day(schedule)


def test_instances_over_a_week() -> None:
    (setting,) = recorded("prod").of_type("Microsoft.Insights/autoscaleSettings")
    assert weekly_capacity(setting, 1) == pytest.approx((163 * 1 + 5 * 4) / 168)
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
    assert Usage(recorded("prod"), 5000, LOAD).units == 2, "Standard does not scale"


def test_a_stack_that_is_too_small_is_told() -> None:
    assert Usage(recorded("prod"), 1000, LOAD).warnings() == []
    (told,) = Usage(recorded("prod"), 2001, LOAD).warnings()
    assert told == "Web PubSub takes 2,000 connections of 2,001 bots: webpubsub_units"
    assert Usage(recorded("dev"), 9, LOAD).warnings() == [], "as Pulumi.dev.yaml says"
    (quota,) = Usage(recorded("dev"), 10, LOAD).warnings()
    assert "sends 20,000 messages a day, and these bots need 22,095: webpubsub_sku" in quota
    assert "20 connections of 21 bots" in Usage(recorded("dev"), 21, LOAD).warnings()[0]
    flooded = LOAD.changed(platform_log_mb_per_resource_day=1000)
    assert "cap of 2 GB a day" in Usage(recorded("prod"), 1, flooded).warnings()[0]
    assert Usage(recorded("prod"), 1, flooded).log_gb == pytest.approx(2 * 730 / 24)


def test_every_price_has_a_unit_a_source_and_a_date() -> None:
    for price in PRICES.prices.values():
        assert price.unit
        assert price.source.says
        assert price.source.date.year >= 2026
    unverified = {each.source.says for each in PRICES.prices.values() if not each.source.verified}
    assert unverified == {"unverified, from general knowledge, check before you rely on it"}


def test_every_price_is_of_something_that_a_stack_can_have() -> None:
    """A price that nothing asks for would be a dead row; sizes are those of other settings."""
    used = {each.price.key for variant in VARIANTS for each in reckoned(variant).charges}
    others = {
        "plan.": {"P1mv3", "S1", "S2"},
        "postgres.": {"Standard_B2s", "Standard_D2ds_v5", "Standard_D4ds_v5"},
        "redis.": {"Balanced_B5"},
        "table.": {"Standard_ZRS", "Standard_GRS"},
        "alert.log.": {"PT1M", "PT10M"},
        "flex.": {"always_ready"},
    }
    settable = {prefix + size for prefix, sizes in others.items() for size in sizes}
    assert PRICES.prices.keys() == used | settable


def test_every_figure_says_how_it_was_measured_or_why_it_is_assumed() -> None:
    document: dict[str, Any] = tomllib.loads(LOAD_FILE.read_text())
    for figure in LOAD.figures.values():
        assert figure.unit
        assert figure.how
    measured = "\n".join(entry["how"] for entry in document["measured"].values())
    assert "`make run EXIT=1 SPEED=6000`" in measured
    assert "`python -m loadtests.bench.bot_traffic`" in measured
    assert LOAD.purposes.keys() == set(STACKS)
    assert [LOAD.purposes[each].customer_usd for each in STACKS] == [42, 365, 843]


def test_a_broken_price_table_tells_every_broken_entry(tmp_path: Path) -> None:
    text = PRICES_FILE.read_text().replace("usd = 0.017", 'usd = "cheap"').replace('unit = "GB-second"', "")
    path = tmp_path / "prices.toml"
    path.write_text(text.replace('source = "module"', 'source = "hearsay"', 1))
    with pytest.raises(CannotEstimate) as told:
        read_prices(path)
    problems = str(told.value).splitlines()
    assert [each.split(":")[1].split()[0] for each in problems] == [
        "flex.execution_time",
        "postgres.Standard_B1ms",
        "redis.Balanced_B0",
    ]


def test_readme_holds_what_the_program_reckons() -> None:
    section = cost.README.read_text().split(cost.BEGIN)[1].split(cost.END)[0].strip()
    assert section == cost.readme_section(LOAD, PRICES), "python -m infra.cost --write-readme"


def test_a_stack_that_is_too_small_is_told_beside_the_comparison() -> None:
    assert too_small({"prod": reckoned("prod", 1000)}) == ""
    told = too_small({"dev": reckoned("dev", 10), "prod": reckoned("prod", 2001)})
    assert [line.split(":")[0] for line in told.splitlines()] == [
        "`dev` is too small for 10 bots",
        "`prod` is too small for 2,001 bots",
    ]


def test_the_readme_is_written_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{cost.BEGIN}\nold\n{cost.END}\nafter\n")
    monkeypatch.setattr(cost, "README", path)
    cost.write_readme("new")
    cost.write_readme("newer")
    assert path.read_text() == f"before\n{cost.BEGIN}\n\nnewer\n\n{cost.END}\nafter\n"


def test_one_stack_is_told_with_its_lines_its_doubts_and_its_assumptions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cost.main(["--stack", "prod", "--users", "1000"]) == 0
    told = capsys.readouterr().out
    total = reckoned("prod").usd
    assert told.startswith(f"prod, 1,000 bots: {total:,.0f} USD a month\n")
    assert "unverified, from general knowledge" in told
    assert "By the price's source (--prices tells what each is), USD: infracost-output " in told
    assert "budget_usd" not in told
    assert f"The customer reckons with 365 USD: this is {total - 365:,.0f} USD above that." in told
    assert "Instances: 1.09 on average" in told
    assert all(f"- {name}: " in told for name in LOAD.figures)


def test_stacks_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main([]) == 0
    told = capsys.readouterr().out
    for each in STACKS:
        total = reckoned(each, LOAD.purposes[each].users).usd
        assert f"{total:,.0f}" in next(line for line in told.splitlines() if line.startswith(f"| {each} "))


def test_options_change_the_load(capsys: pytest.CaptureFixture[str]) -> None:
    cost.main(["--stack", "prod", "--symbols", "1", "--confidences", "500"])
    load = LOAD.changed(symbols_per_bot=1, confidences_per_session=500)
    total = estimate(recorded("prod"), 1000, load, PRICES).usd
    assert capsys.readouterr().out.startswith(f"prod, 1,000 bots: {total:,.0f} USD")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--users", "many"], "'many' is not a whole number from 1 to 100,000"),
        (["--users", "0"], "'0' is not a whole number from 1 to 100,000"),
        (["--stack", "staging"], "invalid choice: 'staging'"),
        (["--savings"], "--savings needs --stack with one stack"),
    ],
)
def test_bad_arguments_get_one_clear_error(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cost.main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_price_gets_a_clear_error_from_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without = replace(
        PRICES, prices={key: each for key, each in PRICES.prices.items() if key != "network.zone"}
    )
    monkeypatch.setattr(cost, "read_prices", lambda: without)
    assert cost.main(["--stack", "prod"]) == 1
    assert capsys.readouterr().err == "error: no price for network.zone: add it to infra/prices.toml\n"


def test_prices_are_listed_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main(["--prices"]) == 0
    told = capsys.readouterr().out
    assert all(f"| {key} " in told for key in PRICES.prices)
    assert "retail-east-us, 2026-10-02: " in told
