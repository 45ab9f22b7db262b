"""Redis, storage and Key Vault as recorded."""

import re

import pytest

from infra.offline.recording import Recording
from tests.infra.recording import SELF_CONTAINED, recorded


@pytest.fixture(params=SELF_CONTAINED)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


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
    names = {
        stack: {each.inputs["containerName"] for each in recorded(stack).of_type(container)}
        for stack in ("prod-flex", "prod")
    }
    assert names == {"prod-flex": {"deployments", "license-exports"}, "prod": {"license-exports"}}


VAULT = "Microsoft.KeyVault/vaults"


def test_secrets_end_with_their_vault_and_not_at_its_closed_address(stack: Recording) -> None:
    """Pulumi's provider deletes a secret at the vault's own address (its custom_keyvault.go)."""
    vault = stack.only(VAULT)
    secrets = stack.of_type(f"{VAULT}/secrets")
    assert secrets
    assert {each.deleted_with for each in secrets} == {vault.urn}


def test_the_vault_is_opened_by_roles_and_cannot_be_purged_if_its_stack_is_protected(
    stack: Recording,
) -> None:
    properties = stack.only(VAULT).inputs["properties"]
    assert properties["enableRbacAuthorization"] is True
    assert properties["enableSoftDelete"] is True
    assert not properties.get("accessPolicies")
    if stack.settings.protect:
        assert properties["enablePurgeProtection"] is True
        assert properties["softDeleteRetentionInDays"] == 90
    else:
        # Azure refuses `false`, and keeps a deleted vault's name for at least a week.
        assert "enablePurgeProtection" not in properties
        assert properties["softDeleteRetentionInDays"] == 7
