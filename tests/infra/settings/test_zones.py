"""A stack says truthfully whether it survives the loss of a zone, and pays for no half of it."""

import pytest

from infra.settings.zones import lost_with_a_zone
from tests.infra.readme import section
from tests.infra.recording import problems_of, settings_of

EVERY_ZONE = {
    "zone_redundant": ("false", "zone_redundant: true"),
    "autoscale_minimum": ("1", "autoscale_minimum of 2 or more"),
    "postgres_high_availability": ("false", "postgres_high_availability: true"),
    "redis_high_availability": ("false", "redis_high_availability: true"),
    "webpubsub_sku": ("Standard_S1", "webpubsub_sku Premium_P1"),
    "storage_replication": ("Standard_GRS", "storage_replication Standard_ZRS or Standard_GZRS"),
    "plan_sku": ("S1", "a plan_sku of Premium v3"),
}


@pytest.mark.parametrize("key", EVERY_ZONE)
def test_a_stack_that_survives_a_zone_does_so_with_every_service(key: str) -> None:
    value, needed = EVERY_ZONE[key]
    assert f"zones: several also needs {needed}" in problems_of(**{key: value})
    # A plan over several zones needs two instances in any case.
    if key != "autoscale_minimum":
        assert settings_of("prod", **{key: value, "zones": "some"}).zones == "some"


def test_the_readme_says_which_services_survive_a_zone() -> None:
    rows = {
        cells[0]: cells[2:6]
        for line in section("Zones").splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 6
    }
    stacks = [name.strip("`") for name in rows["service"]]
    assert stacks == ["dev", "lean", "prod", "premium"]
    decided = {
        "App Service": {"zone_redundant", "autoscale_minimum", "plan_sku"},
        "Postgres": {"postgres_high_availability"},
        "Redis": {"redis_high_availability"},
        "Web PubSub": {"webpubsub_sku"},
        "licenses and keys (Tables), host storage": {"storage_replication"},
    }
    for service, keys in decided.items():
        lost = [keys & dict(lost_with_a_zone(settings_of(stack))).keys() for stack in stacks]
        assert rows[service] == ["no" if each else "yes" for each in lost], service


@pytest.mark.parametrize(
    "changed",
    [
        {"postgres_high_availability": "true", "postgres_sku": "Standard_D2ds_v4"},
        {"zone_redundant": "true", "autoscale_minimum": "2", "autoscale_default": "2"},
    ],
)
def test_a_stack_in_one_zone_pays_for_no_other(changed: dict[str, str]) -> None:
    """As prod once was: it paid for a standby in another zone, beside one instance in one zone."""
    key = next(iter(changed))
    assert f"{key} must be false if zones is one" in problems_of("lean", **changed)
    assert settings_of("lean", zones="some", **changed).zones == "some"


def test_prod_and_premium_survive_a_zone_and_the_cheaper_stacks_pay_for_none() -> None:
    assert {stack: settings_of(stack).zones for stack in ("dev", "lean", "prod", "premium")} == {
        "dev": "one",
        "lean": "one",
        "prod": "several",
        "premium": "several",
    }
