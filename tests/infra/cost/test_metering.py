"""Charges of a month: complete, and equal to those computed by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.cost.metering import FREE, METERS, estimate
from infra.cost.prices import CannotEstimate, PriceTable
from infra.cost.usage import HOURS
from infra.offline.arm_types import ARM_TYPES
from infra.offline.recording import Recording
from infra.settings.stacks import STACKS
from tests.infra.cost.estimates import LOAD, PRICES, reckoned, usd
from tests.infra.recording import VARIANTS, recorded, recorded_with


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
    recorded_types = {each.type for variant in VARIANTS for each in recorded(variant).resources}
    assert METERS.keys() | FREE.keys() <= known | recorded_types


def test_a_type_without_a_price_is_an_error_and_never_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {kind: meter for kind, meter in METERS.items() if kind != "Microsoft.Web/serverfarms"}
    monkeypatch.setattr("infra.cost.metering.METERS", kept)
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
        ("location", "westeurope", "prices are those of eastus and centralus and eastus2, not of westeurope"),
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
    """730 hours; two servers and disks of 64 GB, two nodes, two units, nine endpoints, seven DNS zones."""
    prod = reckoned("prod", users=1)
    assert usd(prod, "postgres.Standard_D2ds_v4") == pytest.approx(2 * 730 * 0.178)
    assert usd(prod, "postgres.storage") == pytest.approx(2 * 64 * 0.115)
    assert usd(prod, "redis.Balanced_B1") == pytest.approx(2 * 730 * 0.032)
    assert usd(prod, "webpubsub.Premium_P1") == pytest.approx(2 * 730 / 24 * 2.00)
    assert usd(prod, "network.endpoint") == pytest.approx(9 * 730 * 0.01)
    assert usd(prod, "network.zone") == pytest.approx(7 * 0.5)
    assert usd(prod, "edge.Standard_AzureFrontDoor") == 35
    assert usd(prod, "alert.metric") == pytest.approx(20 * 0.1)
    assert usd(prod, "alert.log.PT5M") == pytest.approx(15 * 1.5)
    # Five places, every five minutes.
    assert usd(prod, "availability.test") == pytest.approx(5 * 12 * 730 * 0.000645)
    # Two instances, and two more for five of a week's 168 hours.
    assert usd(prod, "plan.P0v3") == pytest.approx((2 + 2 * 5 / 168) * 730 * 0.085)
    assert usd(prod, "webpubsub.messages") == 0
    # The engine's, relay's, heartbeat's, training's, endings', connections', the export's, upkeep's,
    # payments', notifications', the license list's, the test stream's and the summary's runs of a day.
    runs = 8640 + 17280 + 8640 + 96 + 17280 + 4320 + 1 + 1 + 17280 + 17280 + 1440 + 1440 + 1
    assert usd(prod, "blob_writes.Standard_ZRS") == pytest.approx(runs * 730 / 24 / 10_000 * 0.0625)


def test_exports_of_licenses_by_hand() -> None:
    """Ninety exports of 4 KB a bot, 34 writes a month; nothing if the stack makes no exports."""
    prod = reckoned("prod", users=1000)
    assert usd(prod, "blob.Standard_GZRS") == pytest.approx(90 * 1000 * 4000 / 1e9 * 0.0468)
    assert usd(prod, "blob_writes.Standard_GZRS") == pytest.approx(34 / 10_000 * 0.1125)
    without = estimate(recorded_with("prod", license_export_key=""), 1000, LOAD, PRICES)
    assert "blob.Standard_GZRS" not in {charge.price.key for charge in without.charges}


def test_messages_by_hand() -> None:
    """A thousand bots: heartbeats every 10 s for 23 h of 21 days, signals of five symbols, hub events."""
    load = LOAD.changed(symbols_per_bot=5, sessions_per_month=21, connected_hours_per_session=23)
    load = load.changed(heartbeat_bytes=1000, signal_bytes=556, confidences_per_session=11)
    load = load.changed(hub_event_bytes_per_session=6000)
    found = estimate(recorded("prod"), 1000, load, PRICES)
    pushed = 1000 * 21 * (8280 * 1000 + 5 * 11 * 556)
    billed = (pushed + 1000 * 21 * 6000) / 2000
    assert usd(found, "webpubsub.messages") == pytest.approx((billed - 2_000_000 * 21) / 1e6)
    assert usd(found, "network.egress") == pytest.approx((pushed / 1e9 - 100) * 0.087)


def test_flex_pays_a_second_a_run_at_least() -> None:
    dev = reckoned("dev", users=1)
    # Three timers a minute, a heartbeat every 20 seconds, three timers every quarter of an hour,
    # two every two minutes, one every five, the export, upkeep and the summary.
    runs = 3 * 1440 + 3 * 1440 + 3 * 96 + 2 * 720 + 288 + 1 + 1 + 1
    executions = runs * 730 / 24 + dev.usage.requests
    assert usd(dev, "flex.execution_time") == pytest.approx((executions * 2 - 100_000) * 0.000026)
    assert not [each for each in dev.charges if each.price.key.startswith("plan.")]


@pytest.mark.parametrize("stack", STACKS)
def test_a_stacks_own_budget_does_not_alert_for_the_bots_it_is_for(stack: str) -> None:
    purpose = LOAD.purposes[stack]
    # A stack that is made and destroyed runs five times a month at most.
    share = 5 * purpose.run_hours / HOURS if purpose.run_hours else 1
    usd = reckoned(stack, purpose.users).usd * share
    assert usd < 0.8 * recorded(stack).settings.monitoring.budget_usd


def test_what_a_standby_costs() -> None:
    prod = reckoned("prod")
    without = recorded_with("prod", zones="some", postgres_high_availability="false")
    alone = estimate(without, 1000, LOAD, PRICES)
    # Its server and its disk.
    assert prod.usd - alone.usd == pytest.approx(730 * 0.178 + 64 * 0.115, abs=0.01)


def test_lean_serves_a_thousand_users_for_the_customers_price() -> None:
    lean = reckoned("lean", LOAD.purposes["lean"].users)
    assert LOAD.purposes["lean"].users == 1000
    assert LOAD.purposes["lean"].customer_usd == 365
    assert lean.usd <= 365
    assert not list(lean.usage.warnings()), "no limit of it is too small"


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
