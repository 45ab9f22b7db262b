"""Makes Front Door: the one public address for bots, with a firewall before the app."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import cdn, frontdoor

from infra.components.placement import Placement, under
from infra.settings.model import EdgeSettings

# Liveness, because every point of presence probes, and `health/ready` would call every dependency each
# time. The probe decides nothing: Front Door sends requests to a single origin even if its probe fails.
PROBE_PATH = "/api/health"
PROBE_INTERVAL_S = 60
ORIGIN_TIMEOUT_S = 30
# Only the app's routes, not those of the function host (/admin, /runtime).
ROUTES = ("/api/*",)
_SKUS = {"standard": "Standard_AzureFrontDoor", "premium": "Premium_AzureFrontDoor"}


@dataclass(frozen=True, slots=True)
class EdgeArgs:
    placement: Placement
    settings: EdgeSettings
    app_host: str


class Edge(pulumi.ComponentResource):
    """`front_door_id` is the X-Azure-FDID that the app's access rules require of a request."""

    def __init__(self, name: str, args: EdgeArgs) -> None:
        super().__init__("signal-cloud:infra:Edge", name)
        place = args.placement
        sku = _SKUS[args.settings.tier]
        profile = cdn.Profile(
            "front-door",
            cdn.ProfileArgs(
                profile_name=place.names.local("afd"),
                resource_group_name=place.resource_group_name,
                location="Global",
                sku=cdn.SkuArgs(name=sku),
                origin_response_timeout_seconds=ORIGIN_TIMEOUT_S,
                tags=place.tags,
            ),
            opts=under(self),
        )
        endpoint = cdn.AFDEndpoint(
            "front-door-endpoint",
            cdn.AFDEndpointArgs(
                endpoint_name=place.names.unique("fde"),
                profile_name=profile.name,
                resource_group_name=place.resource_group_name,
                location="Global",
                enabled_state="Enabled",
                tags=place.tags,
            ),
            opts=under(self),
        )
        self._route(args, profile, endpoint)
        firewall = frontdoor.Policy("firewall", _firewall_args(args, sku), opts=under(self))
        cdn.SecurityPolicy(
            "front-door-security",
            cdn.SecurityPolicyArgs(
                security_policy_name="firewall",
                profile_name=profile.name,
                resource_group_name=place.resource_group_name,
                parameters=cdn.SecurityPolicyWebApplicationFirewallParametersArgs(
                    type="WebApplicationFirewall",
                    waf_policy=cdn.ResourceReferenceArgs(id=firewall.id),
                    associations=[
                        cdn.SecurityPolicyWebApplicationFirewallAssociationArgs(
                            domains=[cdn.ActivatedResourceReferenceArgs(id=endpoint.id)],
                            patterns_to_match=["/*"],
                        )
                    ],
                ),
            ),
            opts=under(self),
        )
        self.profile_id = profile.id
        self.front_door_id = profile.front_door_id
        self.host = endpoint.host_name
        self.register_outputs({"host": self.host})

    def _route(self, args: EdgeArgs, profile: cdn.Profile, endpoint: cdn.AFDEndpoint) -> None:
        place = args.placement
        group = cdn.AFDOriginGroup(
            "front-door-origins",
            cdn.AFDOriginGroupArgs(
                origin_group_name="app",
                profile_name=profile.name,
                resource_group_name=place.resource_group_name,
                health_probe_settings=cdn.HealthProbeParametersArgs(
                    probe_path=PROBE_PATH,
                    probe_protocol=cdn.ProbeProtocol.HTTPS,
                    probe_request_type=cdn.HealthProbeRequestType.HEAD,
                    probe_interval_in_seconds=PROBE_INTERVAL_S,
                ),
                load_balancing_settings=cdn.LoadBalancingSettingsParametersArgs(
                    sample_size=4, successful_samples_required=3, additional_latency_in_milliseconds=50
                ),
                session_affinity_state="Disabled",
            ),
            opts=under(self),
        )
        origin = cdn.AFDOrigin(
            "front-door-origin",
            cdn.AFDOriginArgs(
                origin_name="app",
                origin_group_name=group.name,
                profile_name=profile.name,
                resource_group_name=place.resource_group_name,
                host_name=args.app_host,
                origin_host_header=args.app_host,
                enforce_certificate_name_check=True,
                http_port=80,
                https_port=443,
                priority=1,
                weight=1000,
                enabled_state="Enabled",
            ),
            opts=under(self),
        )
        cdn.Route(
            "front-door-route",
            cdn.RouteArgs(
                route_name="api",
                endpoint_name=endpoint.name,
                profile_name=profile.name,
                resource_group_name=place.resource_group_name,
                origin_group=cdn.ResourceReferenceArgs(id=group.id),
                patterns_to_match=list(ROUTES),
                # No redirect from plain HTTP, because that request has exposed its API key.
                supported_protocols=["Https"],
                https_redirect="Disabled",
                forwarding_protocol="HttpsOnly",
                link_to_default_domain="Enabled",
                enabled_state="Enabled",
            ),
            # Azure refuses a route to a group that has no origin yet.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[origin]),
        )


def _firewall_args(args: EdgeArgs, sku: str) -> frontdoor.PolicyArgs:
    place = args.placement
    # A policy's name allows only letters and digits.
    policy_name = place.names.local("waf").replace("-", "")
    managed = _managed_rules() if args.settings.tier == "premium" else None
    return frontdoor.PolicyArgs(
        policy_name=policy_name,
        resource_group_name=place.resource_group_name,
        location="Global",
        sku=frontdoor.SkuArgs(name=sku),
        policy_settings=frontdoor.PolicySettingsArgs(
            enabled_state="Enabled", mode="Prevention", request_body_check="Enabled"
        ),
        custom_rules=frontdoor.CustomRuleListArgs(rules=[_rate_limit(args.settings.requests_per_minute)]),
        managed_rules=managed,
        tags=place.tags,
    )


def _rate_limit(requests_per_minute: int) -> frontdoor.CustomRuleArgs:
    """Blocks floods of one client address; the app enforces the exact limit of each license."""
    return frontdoor.CustomRuleArgs(
        name="RateLimitPerClient",
        priority=100,
        rule_type="RateLimitRule",
        rate_limit_duration_in_minutes=1,
        rate_limit_threshold=requests_per_minute,
        group_by=[frontdoor.GroupByVariableArgs(variable_name="SocketAddr")],
        match_conditions=[
            # Matches every request, because a rule must have a condition.
            frontdoor.MatchConditionArgs(match_variable="RequestUri", operator="Contains", match_value=["/"])
        ],
        action="Block",
        enabled_state="Enabled",
    )


def _managed_rules() -> frontdoor.ManagedRuleSetListArgs:
    """Microsoft's rules. The bot rules block known bad bots, and only log ours, whose user agent is httpx."""
    return frontdoor.ManagedRuleSetListArgs(
        managed_rule_sets=[
            frontdoor.ManagedRuleSetArgs(
                rule_set_type="Microsoft_DefaultRuleSet", rule_set_version="2.1", rule_set_action="Block"
            ),
            frontdoor.ManagedRuleSetArgs(rule_set_type="Microsoft_BotManagerRuleSet", rule_set_version="1.1"),
        ]
    )
