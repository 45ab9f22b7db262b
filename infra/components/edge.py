"""Makes Front Door: the one public address for bots, with a firewall before the app, in one region or two."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import cdn, frontdoor

from infra.components.edge_domain import Domain, DomainArgs
from infra.components.edge_headers import security_headers
from infra.components.firewall import firewall_args
from infra.components.placement import Placement, under
from infra.settings.model import EdgeSettings

# Liveness, because every point of presence probes, and `health/ready` would call every dependency each
# time. The probe decides nothing: Front Door sends requests to a single origin even if its probe fails.
PROBE_PATH = "/api/health"
PROBE_INTERVAL_S = 60
# With a second region, the probe decides: only the app whose database accepts writes answers 200 here. Front
# Door needs two failed probes of four to leave an origin.
ACTIVE_PATH = "/api/health/active"
ACTIVE_INTERVAL_S = 30
ORIGIN_TIMEOUT_S = 30
# Only the app's routes, not those of the function host (/admin, /runtime).
ROUTES = ("/api/*",)
_SKUS = {"standard": "Standard_AzureFrontDoor", "premium": "Premium_AzureFrontDoor"}


@dataclass(frozen=True, slots=True)
class EdgeArgs:
    placement: Placement
    settings: EdgeSettings
    app_host: str


@dataclass(frozen=True, slots=True)
class _Origin:
    """An app behind Front Door, which Azure adds to the group after those of `after`."""

    name: str
    host: str
    priority: int
    after: tuple[pulumi.Resource, ...]


class Edge(pulumi.ComponentResource):
    """`front_door_id` is the X-Azure-FDID that the app's access rules require of a request.

    `host` is the name that bots use: the stack's domain, or Front Door's own name if it has none. `outputs`
    are the stack's outputs about the edge.
    """

    def __init__(self, name: str, args: EdgeArgs) -> None:
        super().__init__("signal-cloud:infra:Edge", name)
        self._args = args
        self._place = place = args.placement
        sku = _SKUS[args.settings.tier]
        self._profile = profile = cdn.Profile(
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
        domain = self._domain()
        route = self._route(endpoint, domain)
        self._firewall(sku, [endpoint.id, domain.id] if domain else [endpoint.id])
        self.profile_id = profile.id
        self.front_door_id = profile.front_door_id
        self.host: pulumi.Input[str] = args.settings.domain or endpoint.host_name
        self.outputs: dict[str, pulumi.Input[object]] = {
            "front_door": profile.name,
            "front_door_id": profile.front_door_id,
            "front_door_host": endpoint.host_name,
            **(domain.point_to(endpoint.host_name, route) if domain else {}),
        }
        self.register_outputs({"host": self.host})

    def _domain(self) -> Domain | None:
        settings = self._args.settings
        if not settings.domain:
            return None
        return Domain("domain", DomainArgs(self._place, self._profile, settings.domain, settings.dns_zone_id))

    def _firewall(self, sku: str, protected: list[pulumi.Output[str]]) -> None:
        """Makes the firewall of every name that leads to the app, because each one is a way around it."""
        place = self._place
        firewall = frontdoor.Policy(
            "firewall", firewall_args(place, self._args.settings, sku), opts=under(self)
        )
        cdn.SecurityPolicy(
            "front-door-security",
            cdn.SecurityPolicyArgs(
                security_policy_name="firewall",
                profile_name=self._profile.name,
                resource_group_name=place.resource_group_name,
                parameters=cdn.SecurityPolicyWebApplicationFirewallParametersArgs(
                    type="WebApplicationFirewall",
                    waf_policy=cdn.ResourceReferenceArgs(id=firewall.id),
                    associations=[
                        cdn.SecurityPolicyWebApplicationFirewallAssociationArgs(
                            domains=[cdn.ActivatedResourceReferenceArgs(id=each) for each in protected],
                            patterns_to_match=["/*"],
                        )
                    ],
                ),
            ),
            opts=under(self),
        )

    def _route(self, endpoint: cdn.AFDEndpoint, domain: Domain | None) -> cdn.Route:
        place = self._place
        group, origins = self._origins()
        rules, rule = security_headers(place, self._profile, self)
        return cdn.Route(
            "front-door-route",
            cdn.RouteArgs(
                route_name="api",
                endpoint_name=endpoint.name,
                profile_name=self._profile.name,
                resource_group_name=place.resource_group_name,
                origin_group=cdn.ResourceReferenceArgs(id=group.id),
                custom_domains=[cdn.ActivatedResourceReferenceArgs(id=domain.id)] if domain else None,
                rule_sets=[cdn.ResourceReferenceArgs(id=rules.id)],
                patterns_to_match=list(ROUTES),
                # No redirect from plain HTTP, because that request has exposed its API key.
                supported_protocols=["Https"],
                https_redirect="Disabled",
                forwarding_protocol="HttpsOnly",
                # Also beside a domain, so that bots with the former name keep working.
                link_to_default_domain="Enabled",
                enabled_state="Enabled",
            ),
            # Azure refuses a route to a group that has no origin yet.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*origins, rule]),
        )

    def _origins(self) -> tuple[cdn.AFDOriginGroup, list[cdn.AFDOrigin]]:
        """Makes the app's origin, and one of lower priority if the stack has a second region."""
        settings = self._args.settings
        two_regions = bool(settings.second_origin_host)
        group = cdn.AFDOriginGroup(
            "front-door-origins",
            cdn.AFDOriginGroupArgs(
                origin_group_name="app",
                profile_name=self._profile.name,
                resource_group_name=self._place.resource_group_name,
                health_probe_settings=cdn.HealthProbeParametersArgs(
                    probe_path=ACTIVE_PATH if two_regions else PROBE_PATH,
                    probe_protocol=cdn.ProbeProtocol.HTTPS,
                    probe_request_type=cdn.HealthProbeRequestType.HEAD,
                    probe_interval_in_seconds=ACTIVE_INTERVAL_S if two_regions else PROBE_INTERVAL_S,
                ),
                load_balancing_settings=cdn.LoadBalancingSettingsParametersArgs(
                    sample_size=4, successful_samples_required=3, additional_latency_in_milliseconds=50
                ),
                session_affinity_state="Disabled",
            ),
            opts=under(self),
        )
        first = self._origin("front-door-origin", group, _Origin("app", self._args.app_host, 1, ()))
        if not two_regions:
            return group, [first]
        second = _Origin("second", settings.second_origin_host, 2, (first,))
        return group, [first, self._origin("front-door-second-origin", group, second)]

    def _origin(self, name: str, group: cdn.AFDOriginGroup, origin: "_Origin") -> cdn.AFDOrigin:
        return cdn.AFDOrigin(
            name,
            cdn.AFDOriginArgs(
                origin_name=origin.name,
                origin_group_name=group.name,
                profile_name=self._profile.name,
                resource_group_name=self._place.resource_group_name,
                host_name=origin.host,
                origin_host_header=origin.host,
                enforce_certificate_name_check=True,
                http_port=80,
                https_port=443,
                priority=origin.priority,
                weight=1000,
                enabled_state="Enabled",
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=origin.after),
        )
