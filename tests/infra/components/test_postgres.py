"""The Postgres server as recorded: access, parameters, firewall, maintenance."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from infra.components import postgres as postgres_module
from infra.offline.recording import Recording
from tests.infra.recording import SELF_CONTAINED, recorded, recorded_with

SERVER = "Microsoft.DBforPostgreSQL/flexibleServers"
CONFIGURATION = f"{SERVER}/configurations"
# Azure's defaults for version 18, from Microsoft's generated lists (MicrosoftDocs/azure-databases-docs,
# articles/postgresql/server-parameters/includes/param-18-*.md, of 2025-12 to 2026-05). These are of every
# parameter that the program sets or relies on, without `metrics.*`, whose list was not found for version 18.
AZURE_DEFAULTS = {
    "autovacuum_analyze_scale_factor": "0.1",
    "autovacuum_vacuum_scale_factor": "0.2",
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
    "log_checkpoints": "on",
    "log_lock_waits": "off",
    "log_min_duration_statement": "-1",
    "pg_qs.query_capture_mode": "top",
    "pgbouncer.default_pool_size": "50",
    "pgbouncer.enabled": "false",
    "pgbouncer.max_prepared_statements": "0",
    "pgbouncer.pool_mode": "transaction",
    "pgbouncer.query_wait_timeout": "120",
    "random_page_cost": "2",
    "require_secure_transport": "on",
    "ssl_min_protocol_version": "TLSv1.2",
    "track_io_timing": "off",
}


@pytest.fixture(params=SELF_CONTAINED)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def parameters_of(stack: Recording) -> dict[str, str]:
    return {each.inputs["configurationName"]: each.inputs["value"] for each in stack.of_type(CONFIGURATION)}


def test_postgres_is_18_and_opened_by_entra_id_alone(stack: Recording) -> None:
    server = stack.only(SERVER).inputs
    assert server["version"] == "18"
    assert server["authConfig"]["activeDirectoryAuth"] == "Enabled"
    assert server["authConfig"]["passwordAuth"] == "Disabled"
    assert not {"administratorLogin", "administratorLoginPassword"} & set(server)
    administrator = stack.only(f"{SERVER}/administrators").inputs
    assert administrator["objectId"] == stack.settings.postgres.admin_object_id
    assert administrator["principalName"] == stack.settings.postgres.admin_name
    assert administrator["principalType"] == "Group"
    assert administrator["tenantId"] == server["authConfig"]["tenantId"]


@pytest.mark.parametrize(
    ("variant", "tier", "standby", "geo", "days"),
    [
        ("dev", "Burstable", "Disabled", "Disabled", 7),
        ("lean", "GeneralPurpose", "Disabled", "Enabled", 30),
        ("prod", "GeneralPurpose", "ZoneRedundant", "Enabled", 30),
        ("premium", "GeneralPurpose", "ZoneRedundant", "Enabled", 35),
    ],
)
def test_postgres_survives_what_its_stack_pays_for(
    variant: str, tier: str, standby: str, geo: str, days: int
) -> None:
    server = recorded(variant).only(SERVER).inputs
    assert server["sku"]["tier"] == tier
    assert server["highAvailability"]["mode"] == standby
    assert server["backup"] == {"backupRetentionDays": days, "geoRedundantBackup": geo}
    assert server["storage"]["autoGrow"] == "Enabled"


@pytest.mark.parametrize("week", ["2026-01-12", "2026-07-13"])
def test_maintenance_falls_where_cme_is_closed_all_the_while(stack: Recording, week: str) -> None:
    window = stack.only(SERVER).inputs["maintenanceWindow"]
    assert window["customWindow"] == "Enabled"
    new_york = ZoneInfo("America/New_York")
    monday = datetime.fromisoformat(week)
    closes = (monday + timedelta(days=4)).replace(hour=17, tzinfo=new_york)
    opens = (monday + timedelta(days=6)).replace(hour=18, tzinfo=new_york)
    sunday = monday.replace(tzinfo=UTC) - timedelta(days=1)
    starts = sunday + timedelta(
        days=window["dayOfWeek"], hours=window["startHour"], minutes=window["startMinute"]
    )
    assert closes < starts
    assert starts + timedelta(hours=4) < opens


def test_pgbouncer_is_where_the_app_connects_unless_the_server_is_burstable(stack: Recording) -> None:
    parameters = parameters_of(stack)
    (url,) = (
        each["value"]
        for each in stack.only("Microsoft.Web/sites").inputs["siteConfig"]["appSettings"]
        if each["name"] == "DATABASE_URL"
    )
    assert "sslmode=verify-full" in url
    if stack.settings.postgres.tier == "Burstable":
        assert ":5432/signal_cloud" in url
        assert not [name for name in parameters if name.startswith("pgbouncer.")]
    else:
        assert ":6432/signal_cloud" in url
        assert parameters["pgbouncer.enabled"] == "true"
        # psycopg prepares frequent statements; without this setting they would be lost between transactions.
        assert int(parameters["pgbouncer.max_prepared_statements"]) > 0


def test_pgbouncer_is_enabled_before_its_parameters_are_set() -> None:
    order = list(postgres_module.LARGER_SERVER_PARAMETERS)
    assert order[0] == "pgbouncer.enabled"


def test_no_parameter_is_set_to_what_azure_sets_by_itself(stack: Recording) -> None:
    parameters = parameters_of(stack)
    same = {name for name, value in parameters.items() if AZURE_DEFAULTS.get(name) == value}
    assert not same
    without_default = {name for name in parameters if not name.startswith("metrics.")} - set(AZURE_DEFAULTS)
    assert not without_default, "add Azure's default to AZURE_DEFAULTS"


def firewall_of(stack: Recording) -> dict[str, tuple[str, str]]:
    return {
        each.own_name: (each.inputs["startIpAddress"], each.inputs["endIpAddress"])
        for each in stack.of_type(f"{SERVER}/firewallRules")
    }


def test_developers_reach_a_public_server_from_their_addresses() -> None:
    """Azure's own addresses alone would admit the app and no laptop, so nobody could migrate."""
    assert firewall_of(recorded("dev")) == {
        "azure-services": ("0.0.0.0", "0.0.0.0"),
        "deployer-0": ("203.0.113.7", "203.0.113.7"),
    }
    several = recorded_with("dev", deployer_addresses="198.51.100.0/24, 203.0.113.8/30")
    assert firewall_of(several)["deployer-0"] == ("198.51.100.0", "198.51.100.255")
    assert firewall_of(several)["deployer-1"] == ("203.0.113.8", "203.0.113.11")
    assert not firewall_of(recorded("prod"))


def test_a_memory_optimised_server_has_its_tier() -> None:
    server = recorded_with("prod", postgres_sku="Standard_E2ds_v4").only(SERVER).inputs
    assert server["sku"] == {"name": "Standard_E2ds_v4", "tier": "MemoryOptimized"}


@pytest.mark.parametrize("variant", ["prod", "dev", "rehearse", "standby"])
def test_what_is_set_on_the_server_ends_with_it(variant: str) -> None:
    """Otherwise Pulumi sets back every parameter before it deletes the server, a minute each."""
    stack = recorded(variant)
    server = stack.only("Microsoft.DBforPostgreSQL/flexibleServers")
    for part in ("configurations", "administrators", "firewallRules"):
        for each in stack.of_type(f"{server.type}/{part}"):
            assert each.deleted_with == server.urn, each.name
