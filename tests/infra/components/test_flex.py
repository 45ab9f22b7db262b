"""The function app on Flex Consumption: what it wants, and what it refuses."""

import pytest
from pulumi import _types
from pulumi_azure_native import web

from infra.offline.recording import Recording
from infra.policies.tables import FLEX_REFUSES, FLEX_REFUSES_SETTINGS
from tests.infra.recording import VARIANTS, input_at, recorded, recorded_with

SITE = "Microsoft.Web/sites"
FLEX = [each for each in VARIANTS if recorded(each).settings.compute.plan == "flex"]


@pytest.fixture(params=FLEX)
def flex(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def test_flex_consumption_is_configured_as_it_wants(flex: Recording) -> None:
    site = flex.only(SITE).inputs
    settings = flex.settings.compute.flex
    plan = flex.only("Microsoft.Web/serverfarms").inputs
    assert plan["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    config = site["functionAppConfig"]
    assert config["runtime"] == {"name": "python", "version": "3.13"}
    assert config["scaleAndConcurrency"]["instanceMemoryMB"] == settings.memory_mb
    assert config["scaleAndConcurrency"]["maximumInstanceCount"] == settings.maximum_instances
    concurrency = config["scaleAndConcurrency"]["triggers"]["http"]["perInstanceConcurrency"]
    assert concurrency == settings.http_concurrency
    storage = config["deployment"]["storage"]
    assert storage["type"] == "blobContainer"
    containers = flex.of_type("Microsoft.Storage/storageAccounts/blobServices/containers")
    (container,) = (each for each in containers if each.inputs["containerName"] == "deployments")
    account = container.inputs["accountName"]
    name = container.inputs["containerName"]
    assert storage["value"] == f"https://{account}.blob.core.windows.net/{name}"
    assert account == flex.outputs["host_storage_account"]
    assert storage["authentication"]["type"] == "UserAssignedIdentity"
    identity, _ = site["identity"]["userAssignedIdentities"]
    assert storage["authentication"]["userAssignedIdentityResourceId"] == identity


def test_flex_consumption_gets_nothing_that_it_refuses(flex: Recording) -> None:
    """The recorded inputs are those that the provider gets, with the defaults that the SDK has added."""
    app = flex.only(SITE)
    assert not [path for path in FLEX_REFUSES if input_at(app, path) is not None]
    assert not FLEX_REFUSES_SETTINGS & {each["name"] for each in app.inputs["siteConfig"]["appSettings"]}
    # Accepted and useless: the platform replaces instances by itself.
    assert "healthCheckPath" not in app.inputs["siteConfig"]
    assert not flex.of_type(f"{SITE}/slots")
    assert "staging_url" not in flex.outputs


# In the lists of properties that Azure refused, word for word, and in what Pulumi's SDK adds by itself.
@pytest.mark.parametrize(
    "path",
    [
        "siteConfig.ftpsState",
        "siteConfig.functionAppScaleLimit",
        "siteConfig.functionsRuntimeScaleMonitoringEnabled",
        "siteConfig.linuxFxVersion",
        "siteConfig.netFrameworkVersion",
        "siteConfig.preWarmedInstanceCount",
        "siteConfig.use32BitWorkerProcess",
    ],
)
def test_what_azure_has_refused_is_in_the_table(path: str) -> None:
    assert path in FLEX_REFUSES
    assert "FUNCTIONS_WORKER_RUNTIME" in FLEX_REFUSES_SETTINGS


def test_the_tables_name_inputs_that_exist() -> None:
    """A misspelt name would refuse nothing."""
    of_site = _types.input_type_types(web.WebAppArgs)
    of_config = _types.input_type_types(web.SiteConfigArgs)
    for path in FLEX_REFUSES:
        name = path.removeprefix("siteConfig.")
        assert name in (of_site if name == path else of_config), path


def test_always_ready_instances_are_paid_for_only_when_asked_for() -> None:
    scale = recorded("prod-flex").only(SITE).inputs["functionAppConfig"]["scaleAndConcurrency"]
    assert "alwaysReady" not in scale
    stack = recorded_with("prod", plan="flex", flex_always_ready="2")
    scale = stack.only(SITE).inputs["functionAppConfig"]["scaleAndConcurrency"]
    assert scale["alwaysReady"] == [{"name": "http", "instanceCount": 2}]
