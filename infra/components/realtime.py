"""Web PubSub: where bots hold their connections, and what it tells the app about them."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import webpubsub

from infra.components.network import PrivateTarget
from infra.components.placement import Placement
from infra.settings.model import WebPubSubSettings

HUB = "signals"
EVENTS = ("connect", "connected", "disconnected")
EVENTS_PATH = "/api/ws/events"
# Audience of the tokens that come with events. It must be an application that every tenant has, and the token
# must be worth nothing elsewhere: the service's own application is one, and its identity holds no role there.
EVENTS_AUDIENCE = "https://webpubsub.azure.com"
_TIERS = {"Free_F1": "Free", "Standard_S1": "Standard", "Premium_P1": "Premium"}


@dataclass(frozen=True, slots=True)
class RealtimeArgs:
    placement: Placement
    settings: WebPubSubSettings
    private: bool
    events_identity_id: pulumi.Output[str]


class Realtime(pulumi.ComponentResource):
    """Clients come over the internet; publishing does so only where there is no private network."""

    def __init__(self, name: str, args: RealtimeArgs) -> None:
        super().__init__("signal-cloud:infra:Realtime", name)
        place, settings = args.placement, args.settings
        self._place = place
        scales = settings.maximum_units > settings.units
        service_name = place.names.unique("wps")
        service = webpubsub.WebPubSub(
            "webpubsub",
            resource_name_=service_name,
            resource_group_name=place.resource_group_name,
            location=place.location,
            kind="WebPubSub",
            sku=webpubsub.ResourceSkuArgs(
                name=settings.sku, tier=_TIERS[settings.sku], capacity=settings.units
            ),
            disable_local_auth=True,
            disable_aad_auth=False,
            identity=webpubsub.ManagedIdentityArgs(
                type="UserAssigned", user_assigned_identities=[args.events_identity_id]
            ),
            public_network_access="Enabled",
            network_acls=_client_connections_only() if args.private else None,
            tls=webpubsub.WebPubSubTlsSettingsArgs(client_cert_enabled=False),
            tags=place.tags,
            # Where autoscale sets the units, an update must not set them back.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["sku.capacity"] if scales else None),
        )
        self.service_id = service.id
        self.service_name = service_name
        self._service = service
        self.endpoint = f"https://{service_name}.webpubsub.azure.com"
        self.register_outputs({"service_id": self.service_id})

    def send_events_to(self, app_host: str, depends_on: list[pulumi.Resource]) -> None:
        """Ask the app about every connection: it decides on `connect`, and learns of the other two.

        The service asks directly and not through Front Door, whose rate limit per client would take all the
        connections of an opening bell for one client's. The token of its identity says who asks.
        """
        webpubsub.WebPubSubHub(
            "hub",
            hub_name=HUB,
            resource_name_=self._service.name,
            resource_group_name=self._place.resource_group_name,
            properties=webpubsub.WebPubSubHubPropertiesArgs(
                anonymous_connect_policy="deny",
                event_handlers=[
                    webpubsub.EventHandlerArgs(
                        url_template=f"https://{app_host}{EVENTS_PATH}",
                        system_events=list(EVENTS),
                        auth=webpubsub.UpstreamAuthSettingsArgs(
                            type="ManagedIdentity",
                            managed_identity=webpubsub.ManagedIdentitySettingsArgs(resource=EVENTS_AUDIENCE),
                        ),
                    )
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )

    def private_targets(self) -> tuple[PrivateTarget, ...]:
        return (PrivateTarget("webpubsub", self.service_id, "webpubsub"),)


def _client_connections_only() -> webpubsub.WebPubSubNetworkACLsArgs:
    """From the internet nothing but clients; the private endpoint falls under the default and may do all."""
    return webpubsub.WebPubSubNetworkACLsArgs(
        default_action="Allow",
        public_network=webpubsub.NetworkACLArgs(deny=["RESTAPI", "ServerConnection", "Trace"]),
    )
