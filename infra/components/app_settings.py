"""Names the app's settings in Azure as shared/settings.py and the function host read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_azure_native import web

from infra.timers import timers

# The slot swaps only after the new version reports that every dependency is available.
READY_PATH = "/api/health/ready"
# The largest body of any route (functions/web/body_limits.py). The host refuses larger ones before the app
# gets them; the app enforces each route's own limit as soon as it knows the caller.
REQUEST_BODY_LIMIT = 1_048_576
_HOST_ID = "AzureFunctionsWebHost__hostid"

Values = dict[str, pulumi.Input[str]]


@dataclass(frozen=True, slots=True)
class AppValues:
    """Values of the app's settings; each field becomes the setting of its name, in capitals.

    `api_key_pepper_previous` is None unless a rotation is under way; without it there is no such setting. Nor
    is there one of any other value that is empty. `vendor_secrets` are references by the settings' names.
    """

    azure_client_id: pulumi.Input[str]
    azure_tenant_id: pulumi.Input[str]
    database_url: pulumi.Input[str]
    jobs_database_url: pulumi.Input[str]
    jobs_client_id: pulumi.Input[str]
    database_role: str
    database_pool_size: int
    redis_url: pulumi.Input[str]
    tables_endpoint: pulumi.Input[str]
    webpubsub_endpoint: pulumi.Input[str]
    webpubsub_hub: str
    webpubsub_events_principal: pulumi.Input[str]
    api_key_pepper: pulumi.Input[str]
    api_key_pepper_previous: pulumi.Input[str] | None
    log_level: str
    telemetry_sample_ratio: str
    applicationinsights_connection_string: pulumi.Input[str]
    cors_origins: tuple[str, ...]
    license_export_key: str
    license_export_endpoint: str
    front_door_id: pulumi.Input[str] | None
    public_url: pulumi.Input[str]
    payment_plans: str
    payment_mode: str
    discord_guild_id: str
    discord_roles: str
    vendor_secrets: Mapping[str, pulumi.Input[str]]


def app_values(values: AppValues, schedules: Mapping[str, str]) -> Values:
    """Settings of the app itself, the same in every slot and plan."""
    previous = values.api_key_pepper_previous
    return {
        **({} if previous is None else {"API_KEY_PEPPER_PREVIOUS": previous}),
        **({"CORS_ORIGINS": ",".join(values.cors_origins)} if values.cors_origins else {}),
        **_exports(values),
        **_business(values),
        "AZURE_CLIENT_ID": values.azure_client_id,
        "AZURE_TENANT_ID": values.azure_tenant_id,
        "DATABASE_URL": values.database_url,
        "JOBS_DATABASE_URL": values.jobs_database_url,
        "JOBS_CLIENT_ID": values.jobs_client_id,
        "DATABASE_ROLE": values.database_role,
        "DATABASE_POOL_SIZE": str(values.database_pool_size),
        "REDIS_URL": values.redis_url,
        "TABLES_ENDPOINT": values.tables_endpoint,
        "WEBPUBSUB_ENDPOINT": values.webpubsub_endpoint,
        "WEBPUBSUB_HUB": values.webpubsub_hub,
        "WEBPUBSUB_EVENTS_PRINCIPAL": values.webpubsub_events_principal,
        "API_KEY_PEPPER": values.api_key_pepper,
        "MARKET_CLOCK": "wall",
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(REQUEST_BODY_LIMIT),
        "LOG_LEVEL": values.log_level,
        "TELEMETRY_SAMPLE_RATIO": values.telemetry_sample_ratio,
        "APPLICATIONINSIGHTS_CONNECTION_STRING": values.applicationinsights_connection_string,
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": pulumi.Output.concat(
            "Authorization=AAD;ClientId=", values.azure_client_id
        ),
        # Azure's exporter would send a row of the process's attributes with each batch of spans.
        "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED": "true",
        # Limits the function host's own traces to one a second. The app samples its traces by itself.
        "OTEL_TRACES_SAMPLER": "microsoft.rate_limited",
        "OTEL_TRACES_SAMPLER_ARG": "1",
        **schedules,
    }


def _exports(values: AppValues) -> Values:
    if not values.license_export_key:
        return {}
    return {
        "LICENSE_EXPORT_KEY": values.license_export_key,
        "LICENSE_EXPORT_ENDPOINT": values.license_export_endpoint,
    }


def _business(values: AppValues) -> Values:
    """What the app sells and whom it notifies; only what the stack has set."""
    optional = {
        "PAYMENT_PLANS": values.payment_plans,
        "DISCORD_GUILD_ID": values.discord_guild_id,
        "DISCORD_ROLES": values.discord_roles,
    }
    return {
        "PUBLIC_URL": values.public_url,
        "PAYMENT_MODE": values.payment_mode,
        **({} if values.front_door_id is None else {"FRONT_DOOR_ID": values.front_door_id}),
        **{name: value for name, value in optional.items() if value},
        **{name.upper(): reference for name, reference in values.vendor_secrets.items()},
    }


def host_storage_values(account: str, client_id: pulumi.Input[str]) -> Values:
    """Settings by which the function host reaches its storage as the identity, not by a key."""
    return {
        "AzureWebJobsStorage__accountName": account,
        "AzureWebJobsStorage__credential": "managedidentity",
        "AzureWebJobsStorage__clientId": client_id,
    }


def dedicated_values(worker_processes: int) -> Values:
    """Settings of a function host on a dedicated plan; Flex Consumption refuses most of them."""
    return {
        "FUNCTIONS_EXTENSION_VERSION": "~4",
        "FUNCTIONS_WORKER_RUNTIME": "python",
        # A Python process uses one processor.
        "FUNCTIONS_WORKER_PROCESS_COUNT": str(worker_processes),
        # The package holds all libraries and bytecode, so Azure builds and unpacks nothing.
        "WEBSITE_RUN_FROM_PACKAGE": "1",
        "SCM_DO_BUILD_DURING_DEPLOYMENT": "false",
        "ENABLE_ORYX_BUILD": "false",
        "WEBSITE_SWAP_WARMUP_PING_PATH": READY_PATH,
        "WEBSITE_SWAP_WARMUP_PING_STATUSES": "200",
        # Azure replaces an instance after so many failed health checks, one a minute.
        "WEBSITE_HEALTHCHECK_MAXPINGFAILURES": "5",
    }


def slot_values(slot: Literal["production", "staging"], stack: str, *, timers_on: bool = True) -> Values:
    """Settings that stay with a slot when the versions swap. `timers_on` is False in a passive region.

    Hosts with the same id share the locks and states of their timers. Without a setting, the host takes the
    first 32 characters of the app's name as its id, and both slots may get the same one.
    """
    host_id = f"signal-cloud-{stack}" if slot == "production" else f"signal-cloud-{stack}-stage"
    # Timers are off in the staging slot, because a version that is not live must change nothing.
    return {_HOST_ID: host_id, **timer_values(on=timers_on and slot == "production")}


def timer_values(*, on: bool) -> Values:
    """Turns every timer on or off."""
    return {f"AzureWebJobs.{timer.name}.Disabled": "0" if on else "1" for timer in timers()}


def sticky_names() -> list[str]:
    return list(slot_values("production", ""))


def pairs(values: Values) -> list[web.NameValuePairArgs]:
    return [web.NameValuePairArgs(name=name, value=value) for name, value in sorted(values.items())]
