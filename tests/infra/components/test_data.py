"""Postgres, Redis, storage and Key Vault as recorded."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from infra.components import postgres as postgres_module
from infra.offline.recording import Recording
from tests.infra.recording import VARIANTS, recorded, recorded_with

SERVER = "Microsoft.DBforPostgreSQL/flexibleServers"
CONFIGURATION = f"{SERVER}/configurations"


@pytest.fixture(params=VARIANTS)
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
        assert parameters["pgbouncer.pool_mode"] == "transaction"
        # psycopg prepares frequent statements; without this setting they would be lost between transactions.
        assert int(parameters["pgbouncer.max_prepared_statements"]) > 0
    assert parameters["require_secure_transport"] == "on"


def test_changes_of_the_server_wait_for_each_other(stack: Recording) -> None:
    """The server refuses a second change during the first: administrator, parameters, database in a row."""
    chain = [
        each
        for each in stack.resources
        if each.type in {CONFIGURATION, f"{SERVER}/administrators", f"{SERVER}/firewallRules"}
    ]
    database = stack.only(f"{SERVER}/databases")
    by_urn = {each.urn: each for each in chain}
    seen = []
    current = database
    while True:
        before = [by_urn[urn] for urn in current.depends_on if urn in by_urn]
        if not before:
            break
        (current,) = before
        seen.append(current.urn)
    assert len(seen) == len(chain)
    assert database.inputs["databaseName"] == "signal_cloud"
    assert database.inputs["charset"] == "UTF8"


def test_pgbouncer_is_enabled_before_its_parameters_are_set() -> None:
    order = list(postgres_module.LARGER_SERVER_PARAMETERS)
    assert order[0] == "pgbouncer.enabled"


@pytest.mark.parametrize(
    ("variant", "sku", "standby"),
    [
        ("dev", "Balanced_B0", "Disabled"),
        ("lean", "Balanced_B0", "Enabled"),
        ("prod", "Balanced_B1", "Enabled"),
        ("premium", "Balanced_B3", "Enabled"),
    ],
)
def test_redis_has_the_size_of_its_stack(variant: str, sku: str, standby: str) -> None:
    cluster = recorded(variant).only("Microsoft.Cache/redisEnterprise").inputs
    assert cluster["sku"] == {"name": sku}
    assert cluster["highAvailability"] == standby


def test_redis_speaks_tls_to_entra_id_alone(stack: Recording) -> None:
    assert stack.only("Microsoft.Cache/redisEnterprise").inputs["minimumTlsVersion"] == "1.2"
    database = stack.only("Microsoft.Cache/redisEnterprise/databases").inputs
    assert database["accessKeysAuthentication"] == "Disabled"
    assert database["clientProtocol"] == "Encrypted"
    assert database["clusteringPolicy"] == "NoCluster"
    assert database["port"] == 10000
    # Every key has a TTL: Redis evicts the keys that expire first, and refuses no write.
    assert database["evictionPolicy"] == "VolatileTTL"
    assert "persistence" not in database


def test_storage_takes_no_keys_and_old_tls(stack: Recording) -> None:
    accounts = stack.of_type("Microsoft.Storage/storageAccounts")
    assert len(accounts) == 2
    for account in accounts:
        assert account.inputs["allowSharedKeyAccess"] is False
        assert account.inputs["allowBlobPublicAccess"] is False
        assert account.inputs["enableHttpsTrafficOnly"] is True
        assert account.inputs["minimumTlsVersion"] == "TLS1_2"
        assert account.inputs["isLocalUserEnabled"] is False
        assert account.inputs["allowCrossTenantReplication"] is False


@pytest.mark.parametrize(
    ("variant", "data", "host"),
    [
        ("dev", "Standard_LRS", "Standard_LRS"),
        ("lean", "Standard_GZRS", "Standard_ZRS"),
        ("prod", "Standard_GZRS", "Standard_ZRS"),
        ("premium", "Standard_GZRS", "Standard_ZRS"),
    ],
)
def test_licenses_are_copied_as_the_stack_says_and_the_host_outlives_a_zone_with_them(
    variant: str, data: str, host: str
) -> None:
    accounts = recorded(variant).of_type("Microsoft.Storage/storageAccounts")
    skus = {each.name: each.inputs["sku"]["name"] for each in accounts}
    assert skus == {"data-storage": data, "host-storage": host}


def test_blobs_of_data_keep_versions_and_the_host_s_do_not(stack: Recording) -> None:
    services = {
        each.name: each.inputs for each in stack.of_type("Microsoft.Storage/storageAccounts/blobServices")
    }
    assert services["data-blobs"]["isVersioningEnabled"] is True
    assert services["data-blobs"]["deleteRetentionPolicy"] == {"enabled": True, "days": 14}
    assert services["data-blobs"]["containerDeleteRetentionPolicy"] == {"enabled": True, "days": 14}
    assert services["host-blobs"]["isVersioningEnabled"] is False
    assert services["host-blobs"]["containerDeleteRetentionPolicy"] == {"enabled": True, "days": 14}


def test_the_tables_are_those_that_the_app_reads(stack: Recording) -> None:
    from shared.adapters.table_rows import TABLES

    made = {
        each.inputs["tableName"]
        for each in stack.of_type("Microsoft.Storage/storageAccounts/tableServices/tables")
    }
    assert made == set(TABLES)
    assert re.fullmatch(
        r"https://stsigdata\w+\.table\.core\.windows\.net", settings_of_app(stack)["TABLES_ENDPOINT"]
    )


def settings_of_app(stack: Recording) -> dict[str, str]:
    site = stack.only("Microsoft.Web/sites").inputs["siteConfig"]
    return {each["name"]: each["value"] for each in site["appSettings"]}


def test_packages_lie_in_storage_on_flex_consumption_alone() -> None:
    container = "Microsoft.Storage/storageAccounts/blobServices/containers"
    assert len(recorded("prod-flex").of_type(container)) == 1
    assert not recorded("prod").of_type(container)


def test_the_vault_is_opened_by_roles_and_cannot_be_purged(stack: Recording) -> None:
    properties = stack.only("Microsoft.KeyVault/vaults").inputs["properties"]
    assert properties["enableRbacAuthorization"] is True
    assert properties["enablePurgeProtection"] is True
    assert properties["enableSoftDelete"] is True
    assert properties["softDeleteRetentionInDays"] == 90
    assert not properties.get("accessPolicies")


def test_a_memory_optimised_server_has_its_tier() -> None:
    server = recorded_with("prod", postgres_sku="Standard_E2ds_v4").only(SERVER).inputs
    assert server["sku"] == {"name": "Standard_E2ds_v4", "tier": "MemoryOptimized"}
