"""Two regions: what the second one shares with the first, and what a change of roles touches."""

import pytest

from infra.offline.recording import Recording, Resource
from infra.settings.regions import REGIONS
from infra.timers import timers
from tests.infra.recording import problems_of, recorded, recorded_with

SERVER = "Microsoft.DBforPostgreSQL/flexibleServers"
SITE = "Microsoft.Web/sites"
PRIMARY = "/subscriptions/00000000-0000-4000-8000-0000000000ff/resourceGroups/rg-signal-cloud-prod/providers/"
POSTGRES_ID = f"{PRIMARY}{SERVER}/psql-signal-cloud-prod-demo1"
STORAGE_ID = f"{PRIMARY}Microsoft.Storage/storageAccounts/stsigdataproddemo1"


@pytest.fixture(scope="module")
def standby() -> Recording:
    return recorded("standby")


def values_of(site: Resource) -> dict[str, str]:
    return {each["name"]: each["value"] for each in site.inputs["siteConfig"]["appSettings"]}


def test_the_standby_takes_what_prod_s_outputs_say(standby: Recording) -> None:
    """The example tenant's values are those that prod would give."""
    prod = recorded("prod")
    assert standby.settings.primary is not None
    assert standby.settings.primary.postgres_id == prod.outputs["postgres_server_id"] == POSTGRES_ID
    assert standby.settings.primary.storage_id == prod.outputs["data_storage_account_id"] == STORAGE_ID
    assert set(recorded("prod-two").outputs) >= {"front_door_id", "front_door"}
    second = recorded("prod-two").settings.edge.second_origin_host
    assert second == standby.outputs["app_host"]


def test_the_standby_is_in_the_pair_of_prod_and_of_its_size(standby: Recording) -> None:
    prod = recorded("prod").settings
    assert standby.settings.location == REGIONS[prod.location].pair
    # A switchover needs servers of one tier, size and storage.
    for name in ("sku", "storage_gb"):
        assert getattr(standby.settings.postgres, name) == getattr(prod.postgres, name)
    assert standby.settings.network.address_space != prod.network.address_space


def test_the_database_is_a_replica_and_sets_nothing_that_a_replica_cannot_have(standby: Recording) -> None:
    server = standby.only(SERVER)
    assert (server.inputs["createMode"], server.inputs["sourceServerResourceId"]) == ("Replica", POSTGRES_ID)
    assert not {"highAvailability", "backup", "version", "maintenanceWindow"} & set(server.inputs)
    assert server.inputs["authConfig"]["passwordAuth"] == "Disabled"
    assert server.inputs["storage"]["autoGrow"] == "Enabled", "as on the primary"
    assert set(server.ignore_changes) == {"createMode", "sourceServerResourceId"}
    # They replicate from the primary, and cannot be made on a server that accepts no writes.
    assert not standby.of_type(f"{SERVER}/administrators")
    assert not standby.of_type(f"{SERVER}/databases")
    parameters = {
        each.inputs["configurationName"]: each.inputs["value"]
        for each in standby.of_type(f"{SERVER}/configurations")
    }
    on_prod = {
        each.inputs["configurationName"]: each.inputs["value"]
        for each in recorded("prod").of_type(f"{SERVER}/configurations")
    }
    assert parameters == on_prod, "parameters do not replicate, and PgBouncer is one of them"


def test_azure_can_swap_the_two_servers(standby: Recording) -> None:
    endpoint = standby.only(f"{SERVER}/virtualendpoints")
    assert endpoint.id.startswith(f"{POSTGRES_ID}/virtualendpoints/")
    assert endpoint.inputs["members"] == [standby.outputs["postgres_server"]]
    assert endpoint.inputs["endpointType"] == "ReadWrite"
    assert standby.only(SERVER).urn in endpoint.depends_on


def test_licenses_are_prod_s_and_only_the_host_s_account_is_the_standby_s_own(standby: Recording) -> None:
    (account,) = standby.of_type("Microsoft.Storage/storageAccounts")
    assert account.name == "host-storage"
    assert not standby.of_type("Microsoft.Storage/storageAccounts/tableServices/tables")
    values = values_of(standby.only(SITE))
    assert values["TABLES_ENDPOINT"] == "https://stsigdataproddemo1.table.core.windows.net"
    scopes = {
        each.inputs["scope"]
        for each in standby.of_type("Microsoft.Authorization/roleAssignments")
        if "/tables/" in each.inputs["scope"]
    }
    tables = ("licenses", "apikeys", "endings")
    assert scopes == {f"{STORAGE_ID}/tableServices/default/tables/{table}" for table in tables}
    reached = {}
    for endpoint in standby.of_type("Microsoft.Network/privateEndpoints"):
        (connection,) = endpoint.inputs["privateLinkServiceConnections"]
        reached[endpoint.name] = (connection["privateLinkServiceId"], connection["groupIds"])
    assert reached["endpoint-licenses-table"] == (STORAGE_ID, ["table"])
    assert reached["endpoint-exports-blob"] == (STORAGE_ID, ["blob"])
    # The settings of prod's stack would be overwritten.
    watched = {
        each.inputs["resourceUri"] for each in standby.of_type("Microsoft.Insights/diagnosticSettings")
    }
    assert not [each for each in watched if each.startswith(STORAGE_ID)]


def test_the_standby_s_app_answers_prod_s_front_door_and_its_own_hub(standby: Recording) -> None:
    site = standby.only(SITE)
    front_door, web_pubsub, *_ = site.inputs["siteConfig"]["ipSecurityRestrictions"]
    assert site.inputs["siteConfig"]["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert standby.settings.primary is not None
    assert front_door["headers"] == {"x-azure-fdid": [standby.settings.primary.front_door_id]}
    assert web_pubsub["ipAddress"] == "AzureWebPubSub"
    assert not standby.of_type("Microsoft.Cdn/profiles")
    slot = standby.only(f"{SITE}/slots")
    assert slot.inputs["siteConfig"]["ipSecurityRestrictionsDefaultAction"] == "Deny"
    values, of_prod = values_of(site), values_of(recorded("prod").only(SITE))
    for name in (
        *("WEBPUBSUB_ENDPOINT", "WEBPUBSUB_EVENTS_PRINCIPAL", "REDIS_URL", "AZURE_CLIENT_ID"),
        *("AzureFunctionsWebHost__hostid", "AzureWebJobsStorage__accountName", "DATABASE_URL"),
    ):
        assert values[name] != of_prod[name], name
    (handler,) = standby.only("Microsoft.SignalRService/webPubSub/hubs").inputs["properties"]["eventHandlers"]
    assert handler["urlTemplate"] == f"{standby.outputs['app_url']}/api/ws/events"


def disabled(site: Resource) -> set[str]:
    values = values_of(site)
    return {timer.name for timer in timers() if values.get(f"AzureWebJobs.{timer.name}.Disabled") == "1"}


@pytest.mark.parametrize("variant", ["standby", "prod-passive"])
def test_no_timer_runs_in_a_passive_region(variant: str) -> None:
    stack, names = recorded(variant), {timer.name for timer in timers()}
    assert disabled(stack.only(SITE)) == names
    assert disabled(stack.only(f"{SITE}/slots")) == names


@pytest.mark.parametrize("variant", ["standby-active", "prod-two"])
def test_timers_run_in_the_active_region(variant: str) -> None:
    assert disabled(recorded(variant).only(SITE)) == set()


def test_no_timer_runs_in_a_passive_region_on_flex_consumption() -> None:
    passive = recorded_with("standby", plan="flex")
    assert disabled(passive.only(SITE)) == {timer.name for timer in timers()}
    active = recorded_with("standby", plan="flex", role="active")
    assert disabled(active.only(SITE)) == set()


def test_a_passive_region_is_small_and_an_active_one_is_not() -> None:
    def sizes(stack: Recording) -> tuple[int, int, list[str]]:
        units = stack.only("Microsoft.SignalRService/webPubSub").inputs["sku"]["capacity"]
        plan = stack.only("Microsoft.Web/serverfarms").inputs["sku"]["capacity"]
        (scaling,) = (
            each
            for each in stack.of_type("Microsoft.Insights/autoscaleSettings")
            if each.name == "plan-autoscale"
        )
        return units, plan, sorted({each["capacity"]["minimum"] for each in scaling.inputs["profiles"]})

    assert sizes(recorded("standby")) == (1, 1, ["1"])
    assert sizes(recorded("standby-active")) == (2, 2, ["1", "4"])


def test_nobody_tests_an_app_that_answers_only_front_door() -> None:
    for variant in ("standby", "standby-active"):
        assert not recorded(variant).of_type("Microsoft.Insights/webtests")
        alerts = {each.name for each in recorded(variant).of_type("Microsoft.Insights/metricAlerts")}
        assert "alert-unavailable" not in alerts
    assert recorded("prod-passive").of_type("Microsoft.Insights/webtests")


# What a change of roles may update, by type. Never a database server, a storage account or Front Door.
CHANGES_WITH_THE_ROLE = {
    SITE,
    "Microsoft.Web/serverfarms",
    "Microsoft.Insights/autoscaleSettings",
    "Microsoft.Insights/scheduledQueryRules",
    "Microsoft.SignalRService/webPubSub",
}


@pytest.mark.parametrize(("passive", "active"), [("standby", "standby-active"), ("prod-passive", "prod-two")])
def test_a_change_of_roles_makes_replaces_and_deletes_nothing(passive: str, active: str) -> None:
    before, after = ({each.urn: each for each in recorded(name).resources} for name in (passive, active))
    assert before.keys() == after.keys()
    changed = {each.type for urn, each in after.items() if each.inputs != before[urn].inputs}
    assert changed <= CHANGES_WITH_THE_ROLE
    assert {SITE, "Microsoft.SignalRService/webPubSub"} <= changed
    for urn, each in after.items():
        assert each.id == before[urn].id
        for name in ("location", "kind", "name"):
            assert each.inputs.get(name) == before[urn].inputs.get(name)


def test_alerts_that_need_timers_are_quiet_in_a_passive_region() -> None:
    def off(stack: Recording) -> set[str]:
        return {
            each.name
            for each in stack.of_type("Microsoft.Insights/scheduledQueryRules")
            if not each.inputs["enabled"]
        }

    needed = {"alert-no-signals", "alert-signals-not-flowing", "alert-timers-stopped"}
    assert off(recorded("standby")) == off(recorded("prod-passive")) == needed
    assert off(recorded("standby-active")) == off(recorded("prod-two")) == set()


@pytest.mark.parametrize(
    ("stack", "there"), [("standby", True), ("prod-two", True), ("prod-passive", True), ("prod", False)]
)
def test_what_would_be_lost_with_the_region_is_watched(stack: str, there: bool) -> None:
    alerts = {each.name for each in recorded(stack).of_type("Microsoft.Insights/metricAlerts")}
    assert ("alert-postgres-lag" in alerts) is there


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"role": "leader"}, "role must be one of active, passive"),
        ({"primary_postgres_id": "psql-prod"}, "primary_postgres_id must be the output postgres_server_id"),
        ({"primary_storage_id": "stdata"}, "primary_storage_id must be the output data_storage_account_id"),
        ({"primary_front_door_id": "fd"}, "primary_front_door_id must be the output front_door_id"),
        ({"primary_storage_id": ""}, "primary_storage_id must be set too"),
        ({"postgres_sku": "Standard_B2s"}, "Azure makes no replica of that size"),
        ({"location": "centralus", "postgres_high_availability": "true"}, "a replica has no standby"),
        ({"postgres_geo_backup": "true"}, "a server that was a replica never has such backups"),
        ({"edge": "standard"}, "the Front Door of the first region leads here"),
    ],
)
def test_what_a_second_region_cannot_have_is_refused(changed: dict[str, str], expected: str) -> None:
    assert expected in problems_of("standby", **changed)


@pytest.mark.parametrize(
    ("stack", "changed", "expected"),
    [
        ("dev", {"domain": "api.example.com"}, "domain needs edge standard or premium"),
        ("dev", {"second_origin_host": "x1.azurewebsites.net"}, "second_origin_host needs edge"),
        ("prod", {"domain": "https://api.example.com"}, "domain must be a name such as api.example.com"),
        ("prod", {"domain": "API.example.com"}, "domain must be a name such as api.example.com"),
        ("prod", {"second_origin_host": "example.com"}, "second_origin_host must be the output app_host"),
        ("prod", {"dns_zone_id": f"{PRIMARY}Microsoft.Network/dnsZones/example.com"}, "needs domain"),
        (
            "prod",
            {"dns_zone_id": f"{PRIMARY}Microsoft.Network/dnsZones/example.com", "domain": "example.com"},
            "domain must be a name below example.com",
        ),
        (
            "prod",
            {"dns_zone_id": f"{PRIMARY}Microsoft.Network/dnsZones/example.com", "domain": "api.sample.com"},
            "domain api.sample.com does not belong to the zone example.com",
        ),
        (
            "prod",
            {"second_origin_host": "x1.azurewebsites.net", "storage_replication": "Standard_ZRS"},
            "licenses and keys are lost with the region",
        ),
    ],
)
def test_what_front_door_cannot_do_is_refused(stack: str, changed: dict[str, str], expected: str) -> None:
    assert expected in problems_of(stack, **changed)
