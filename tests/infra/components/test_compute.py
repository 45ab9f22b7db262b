"""The function app, on either plan."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from infra.offline.recording import Recording
from infra.timers import timers
from shared.errors import ConfigurationError
from shared.settings import read_settings
from tests.infra.recording import VARIANTS, recorded
from tests.support.app import functions

SITE = "Microsoft.Web/sites"
SLOT = "Microsoft.Web/sites/slots"
POLICY = "basicPublishingCredentialsPolicies"
DEDICATED = ("prod", "premium", "rehearse")

# Settings of the platform and the function host; all others are the app's.
HOST_SETTING = re.compile(
    r"(AzureWebJobs|AzureFunctionsWebHost|FUNCTIONS_|WEBSITE_|SCM_|ENABLE_ORYX_BUILD|APPLICATIONINSIGHTS_|OTEL_)"
)
# Names that app and infrastructure agreed upon.
AGREED = {
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "DATABASE_URL",
    "JOBS_DATABASE_URL",
    "JOBS_CLIENT_ID",
    "LICENSE_EXPORT_ENDPOINT",
    "LICENSE_EXPORT_KEY",
    "DATABASE_ROLE",
    "DATABASE_POOL_SIZE",
    "REDIS_URL",
    "TABLES_ENDPOINT",
    "WEBPUBSUB_ENDPOINT",
    "WEBPUBSUB_EVENTS_PRINCIPAL",
    "WEBPUBSUB_HUB",
    "MARKET_CLOCK",
    "LOG_LEVEL",
    "TELEMETRY_SAMPLE_RATIO",
    "PUBLIC_URL",
    "PAYMENT_MODE",
    "PAYMENT_PLANS",
    "DISCORD_GUILD_ID",
    "DISCORD_ROLES",
}
# References to secrets of the vault, and what the platform could make of them.
SECRETS = {
    "API_KEY_PEPPER": "p" * 32,
    "DISCORD_BOT_TOKEN": "token",
    "STRIPE_WEBHOOK_SECRET": "whsec_a_secret_of_stripe",
    "WHOP_WEBHOOK_SECRET": "ws_a_secret_of_whop_too",
    "NOTIFY_COMMUNITY": "discord://417429632418316298/token",
    "NOTIFY_OPS": "slack://T00000000/B00000000/token",
    "NOTIFY_ONCALL": "pagerduty://key@source",
    "NOTIFY_TELEGRAM": "tgram://110201543:token/-1001",
    "NOTIFY_SMS": "twilio://AC0:token@15017122661/15558675310",
    "NOTIFY_MAIL": "mailtos://user:password@mail.example.com",
}


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


@pytest.fixture(params=DEDICATED)
def dedicated(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def settings_in(site: Mapping[str, Any]) -> dict[str, str]:
    pairs = [(each["name"], each["value"]) for each in site["siteConfig"]["appSettings"]]
    assert len(dict(pairs)) == len(pairs), "a setting is there twice"
    return dict(pairs)


def sites_of(stack: Recording) -> list[Mapping[str, Any]]:
    return [each.inputs for each in (*stack.of_type(SITE), *stack.of_type(SLOT))]


def schedules() -> set[str]:
    """Names of the settings that hold the schedules of the app's timers."""
    found = set()
    for function in functions().values():
        for binding in function.get_bindings():
            schedule = getattr(binding, "schedule", None)
            if schedule:
                found.add(schedule.strip("%"))
    return found


class Asked(Mapping[str, str]):
    """An environment that records the names that are read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def test_every_setting_is_the_app_s_or_the_host_s(stack: Recording) -> None:
    for site in sites_of(stack):
        own = {name for name in settings_in(site) if not HOST_SETTING.match(name)}
        fronted = stack.settings.edge.tier != "none" or stack.settings.primary is not None
        assert own == AGREED | set(SECRETS) | schedules() | ({"FRONT_DOOR_ID"} if fronted else set())
        assert settings_in(site)["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"] == "1048576"  # as functions/web


def test_the_app_reads_what_it_is_given(stack: Recording) -> None:
    for site in sites_of(stack):
        values = settings_in(site)
        # The settings as the platform passes them: with its own variables, and with the reference resolved.
        environment = Asked(
            {
                **values,
                **SECRETS,
                "WEBSITE_SITE_NAME": stack.outputs["app_name"],
                "IDENTITY_ENDPOINT": "http://169.254.130.1/msi/token",
                "IDENTITY_HEADER": "header",
            }
        )
        settings = read_settings(environment)
        assert settings.database_url == values["DATABASE_URL"]
        assert settings.redis_url == values["REDIS_URL"]
        own = {name for name in values if not HOST_SETTING.match(name)}
        assert own - schedules() <= environment.names
        # A reference that the platform has not resolved is refused, and readiness says so.
        with pytest.raises(ConfigurationError, match="API_KEY_PEPPER is a Key Vault reference"):
            read_settings({**environment, "API_KEY_PEPPER": values["API_KEY_PEPPER"]})


def test_services_are_reached_with_the_identity_and_no_password(stack: Recording) -> None:
    values = settings_in(stack.only(SITE).inputs)
    client_id = stack.outputs["identity_client_id"]
    assert values["AZURE_CLIENT_ID"] == client_id
    login, host = stack.outputs["identity_name"], stack.outputs["postgres_host"]
    port = 5432 if stack.settings.postgres.tier == "Burstable" else 6432
    assert values["DATABASE_URL"] == (
        f"postgresql://{login}@{host}:{port}/signal_cloud?sslmode=verify-full&sslrootcert=system"
    )
    jobs_login = stack.outputs["jobs_identity_name"]
    assert jobs_login != login
    assert values["JOBS_DATABASE_URL"] == values["DATABASE_URL"].replace(login, jobs_login, 1)
    assert values["JOBS_CLIENT_ID"] not in ("", client_id)
    assert values["REDIS_URL"] == f"rediss://{stack.outputs['redis_host']}:10000/0"
    assert values["WEBPUBSUB_ENDPOINT"] == stack.outputs["webpubsub_endpoint"]
    vault = stack.outputs["key_vault"]
    assert values["API_KEY_PEPPER"] == (
        f"@Microsoft.KeyVault(SecretUri=https://{vault}.vault.azure.net/secrets/api-key-pepper)"
    )
    assert values["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] == f"Authorization=AAD;ClientId={client_id}"
    assert values["APPLICATIONINSIGHTS_CONNECTION_STRING"].startswith("InstrumentationKey=")
    assert values["MARKET_CLOCK"] == "wall"


def test_the_host_s_storage_is_reached_with_the_identity(stack: Recording) -> None:
    for site in sites_of(stack):
        values = settings_in(site)
        assert {name: value for name, value in values.items() if name.startswith("AzureWebJobsStorage")} == {
            "AzureWebJobsStorage__accountName": stack.outputs["host_storage_account"],
            "AzureWebJobsStorage__credential": "managedidentity",
            "AzureWebJobsStorage__clientId": stack.outputs["identity_client_id"],
        }


def test_schedules_are_the_stack_s(stack: Recording) -> None:
    values = settings_in(stack.only(SITE).inputs)
    assert set(stack.settings.compute.schedules) == schedules()
    for name, schedule in stack.settings.compute.schedules.items():
        assert values[name] == schedule
        assert len(schedule.split()) == 6


def test_sites_are_closed_to_what_is_old(stack: Recording) -> None:
    for site in sites_of(stack):
        config = site["siteConfig"]
        assert site["httpsOnly"] is True
        assert site["clientAffinityEnabled"] is False
        assert config["minTlsVersion"] == config["scmMinTlsVersion"] == "1.2"
        if stack.settings.compute.plan == "dedicated":
            assert config["ftpsState"] == "Disabled"
        assert config["http20Enabled"] is True
        assert config["scmIpSecurityRestrictionsUseMain"] is False


def test_publishing_takes_no_password(stack: Recording) -> None:
    policies = stack.of_type(f"{SITE}/{POLICY}") + stack.of_type(f"{SLOT}/{POLICY}")
    assert all(each.inputs["allow"] is False for each in policies)
    kinds = {(each.type, each.id.rsplit("/", 1)[-1]) for each in policies}
    expected = {(f"{SITE}/{POLICY}", "ftp"), (f"{SITE}/{POLICY}", "scm")}
    if stack.settings.compute.plan == "dedicated":
        expected |= {(f"{SLOT}/{POLICY}", "ftp"), (f"{SLOT}/{POLICY}", "scm")}
    assert kinds == expected


def test_one_identity_runs_the_app_and_another_is_for_timers_alone(stack: Recording) -> None:
    identities = {
        each.name: each.id for each in stack.of_type("Microsoft.ManagedIdentity/userAssignedIdentities")
    }
    app, jobs = identities["app-identity"], identities["jobs-identity"]
    for site in sites_of(stack):
        assert site["identity"] == {"type": "UserAssigned", "userAssignedIdentities": [app, jobs]}
        assert site["keyVaultReferenceIdentity"] == app
    for assignment in stack.of_type("Microsoft.Authorization/roleAssignments"):
        assert assignment.inputs["principalId"] != stack.outputs["jobs_identity_principal_id"]


def test_all_traffic_leaves_by_the_private_network(stack: Recording) -> None:
    for site in sites_of(stack):
        if stack.settings.network.private:
            network = stack.only("Microsoft.Network/virtualNetworks")
            assert site["virtualNetworkSubnetId"] == f"{network.id}/subnets/app"
        else:
            assert "virtualNetworkSubnetId" not in site
        if stack.settings.compute.plan == "dedicated" and stack.settings.network.private:
            assert site["outboundVnetRouting"] == {"allTraffic": True}


def test_the_dedicated_plan_runs_linux(dedicated: Recording) -> None:
    plan = dedicated.only("Microsoft.Web/serverfarms").inputs
    size = dedicated.settings.compute.plan_size
    assert plan["reserved"] is True
    assert plan["sku"] == {
        "name": size.name,
        "tier": size.tier,
        "capacity": dedicated.settings.compute.scaling.default,
    }
    assert plan["zoneRedundant"] is dedicated.settings.compute.zone_redundant


def test_prod_runs_on_the_smallest_premium_size() -> None:
    assert recorded("prod").only("Microsoft.Web/serverfarms").inputs["sku"]["name"] == "P0v3"
    assert recorded("prod").only("Microsoft.Web/serverfarms").inputs["sku"]["tier"] == "Premium0V3"


def test_dedicated_sites_run_python_3_13_and_stay_awake(dedicated: Recording) -> None:
    plan = dedicated.only("Microsoft.Web/serverfarms")
    for site in sites_of(dedicated):
        config = site["siteConfig"]
        assert site["kind"] == "functionapp,linux"
        assert site["serverFarmId"] == plan.id
        assert config["linuxFxVersion"] == "PYTHON|3.13"
        assert config["alwaysOn"] is True
        assert config["healthCheckPath"] == "/api/health"
        values = settings_in(site)
        assert values["FUNCTIONS_WORKER_RUNTIME"] == "python"
        assert values["FUNCTIONS_EXTENSION_VERSION"] == "~4"
        assert values["WEBSITE_SWAP_WARMUP_PING_PATH"] == "/api/health/ready"
        assert "functionAppConfig" not in site


def test_checked_paths_are_the_app_s() -> None:
    routes = {
        binding.route
        for function in functions().values()
        for binding in function.get_bindings()
        if getattr(binding, "route", None)
    }
    assert {"health", "health/ready"} <= routes


@pytest.mark.parametrize(("variant", "processes"), [("prod", "1"), ("premium", "2")])
def test_there_is_a_worker_process_for_each_processor(variant: str, processes: str) -> None:
    values = settings_in(recorded(variant).only(SITE).inputs)
    assert values["FUNCTIONS_WORKER_PROCESS_COUNT"] == processes


def test_timers_run_in_production_and_not_in_staging(dedicated: Recording) -> None:
    triggers = {
        name
        for name, function in functions().items()
        if any(getattr(binding, "schedule", None) for binding in function.get_bindings())
    }
    assert {timer.name for timer in timers()} == triggers
    production = settings_in(dedicated.only(SITE).inputs)
    staging = settings_in(dedicated.only(SLOT).inputs)
    for trigger in triggers:
        assert production[f"AzureWebJobs.{trigger}.Disabled"] == "0"
        assert staging[f"AzureWebJobs.{trigger}.Disabled"] == "1"


def test_what_differs_between_the_slots_stays_with_them(dedicated: Recording) -> None:
    production = settings_in(dedicated.only(SITE).inputs)
    staging = settings_in(dedicated.only(SLOT).inputs)
    different = {name for name in production | staging if production.get(name) != staging.get(name)}
    (sticky,) = (each for each in dedicated.of_type(f"{SITE}/config") if each.name == "sticky-settings")
    assert set(sticky.inputs["appSettingNames"]) == different


def test_hosts_of_the_slots_have_ids_of_their_own(dedicated: Recording) -> None:
    ids = [settings_in(site)["AzureFunctionsWebHost__hostid"] for site in sites_of(dedicated)]
    assert len(set(ids)) == 2
    for each in ids:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}[a-z0-9]", each)
        assert "--" not in each


def test_the_longest_host_id_is_taken_whole() -> None:
    from infra.components.app_settings import slot_values

    assert len(str(slot_values("staging", "premium1")["AzureFunctionsWebHost__hostid"])) <= 32
