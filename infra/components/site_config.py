"""Configures the app's site, for the slots of a dedicated plan and for Flex Consumption.

Neither site has `cors`: if it names an origin, the platform answers preflights in place of the app, and knows
neither its methods nor its headers. The app's setting CORS_ORIGINS decides.
"""

import pulumi
from pulumi_azure_native import web

from infra.components.access import Access
from infra.components.app_settings import Values, pairs
from infra.settings.model import FlexSettings

PYTHON_VERSION = "3.13"
# Liveness: replacing an instance does not help if Redis or Postgres is unavailable.
HEALTH_PATH = "/api/health"
MIN_TLS = "1.2"
# Defaults for Windows, which azure-native's SDK adds to every site.
_SDK_DEFAULTS_OF_A_SITE = frozenset({"hyper_v", "is_xenon"})
_SDK_DEFAULTS_OF_A_CONFIG = ("local_my_sql_enabled", "net_framework_version")


def dedicated_site(values: Values, access: Access, deployment: Access) -> web.SiteConfigArgs:
    return web.SiteConfigArgs(
        linux_fx_version=f"PYTHON|{PYTHON_VERSION}",
        # Timers run only while the host is loaded.
        always_on=True,
        health_check_path=HEALTH_PATH,
        min_tls_version=MIN_TLS,
        scm_min_tls_version=MIN_TLS,
        ftps_state="Disabled",
        http20_enabled=True,
        remote_debugging_enabled=False,
        use32_bit_worker_process=False,
        app_settings=pairs(values),
        ip_security_restrictions=access.rules,
        ip_security_restrictions_default_action=access.default_action,
        scm_ip_security_restrictions=deployment.rules,
        scm_ip_security_restrictions_default_action=deployment.default_action,
        scm_ip_security_restrictions_use_main=False,
    )


def flex_site(values: Values, access: Access, deployment: Access) -> web.SiteConfigArgs:
    """Only what Flex Consumption knows: FLEX_REFUSES in `policies/tables.py` lists the rest."""
    return web.SiteConfigArgs(
        min_tls_version=MIN_TLS,
        scm_min_tls_version=MIN_TLS,
        http20_enabled=True,
        app_settings=pairs(values),
        ip_security_restrictions=access.rules,
        ip_security_restrictions_default_action=access.default_action,
        scm_ip_security_restrictions=deployment.rules,
        scm_ip_security_restrictions_default_action=deployment.default_action,
        scm_ip_security_restrictions_use_main=False,
    )


def without_sdk_defaults(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
    """Takes out what the SDK adds to a site by itself and Flex Consumption refuses.

    The arguments cannot leave these out, because the SDK replaces an absent value by its default.
    """
    site = args.props["site_config"]
    for name in _SDK_DEFAULTS_OF_A_CONFIG:
        setattr(site, name, None)
    props = {name: value for name, value in args.props.items() if name not in _SDK_DEFAULTS_OF_A_SITE}
    return pulumi.ResourceTransformationResult(props=props, opts=args.opts)


def flex_function_app(
    settings: FlexSettings, deployments_url: str, identity_id: pulumi.Input[str]
) -> web.FunctionAppConfigArgs:
    """Runtime, scaling and package storage, which Flex Consumption takes apart from the site's settings."""
    return web.FunctionAppConfigArgs(
        runtime=web.FunctionsRuntimeArgs(name="python", version=PYTHON_VERSION),
        deployment=web.FunctionsDeploymentArgs(
            storage=web.FunctionsDeploymentStorageArgs(
                type="blobContainer",
                value=deployments_url,
                authentication=web.FunctionsDeploymentStorageAuthenticationArgs(
                    type="UserAssignedIdentity", user_assigned_identity_resource_id=identity_id
                ),
            )
        ),
        scale_and_concurrency=web.FunctionsScaleAndConcurrencyArgs(
            instance_memory_mb=settings.memory_mb,
            maximum_instance_count=settings.maximum_instances,
            # HTTP functions scale as one group.
            always_ready=[
                web.FunctionsAlwaysReadyConfigArgs(name="http", instance_count=settings.always_ready)
            ]
            if settings.always_ready
            else None,
            triggers=web.FunctionsScaleAndConcurrencyTriggersArgs(
                http=web.FunctionsScaleAndConcurrencyTriggersHttpArgs(
                    per_instance_concurrency=settings.http_concurrency
                )
            ),
        ),
    )
