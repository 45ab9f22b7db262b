"""Makes Web PubSub, which holds the connections of bots and sends their events to the app."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import webpubsub

from infra.components.network import Network, PrivateTarget
from infra.components.placement import Placement, Turns
from infra.settings.model import WebPubSubSettings

HUB = "signals"
EVENTS = ("connect", "connected", "disconnected")
EVENTS_PATH = "/api/ws/events"
# Audience of the tokens of events. It must be an application that every tenant has, and no other service may
# accept the token: it is the application of Web PubSub itself, where the identity has no role.
EVENTS_AUDIENCE = "https://webpubsub.azure.com"
_TIERS = {"Free_F1": "Free", "Standard_S1": "Standard", "Premium_P1": "Premium"}


@dataclass(frozen=True, slots=True)
class RealtimeArgs:
    placement: Placement
    settings: WebPubSubSettings
    network: Network | None
    events_identity_id: pulumi.Output[str]


class Realtime(pulumi.ComponentResource):
    """Clients connect over the internet. If there is a private network, the app publishes through it only."""

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
            network_acls=_client_connections_only() if args.network else None,
            tls=webpubsub.WebPubSubTlsSettingsArgs(client_cert_enabled=False),
            tags=place.tags,
            # Autoscale may set the units, and an update must not reset them.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["sku.capacity"] if scales else None),
        )
        self.service_id = service.id
        self.service_name = service_name
        self._service = service
        # The service accepts one change at a time; its last one is the hub.
        turns = self._turns = Turns(service)
        if args.network is not None:
            args.network.connect(PrivateTarget("webpubsub", service.id, "webpubsub"), turns)
        self.ready = turns.latest
        self.endpoint = f"https://{service_name}.webpubsub.azure.com"
        self.register_outputs({"service_id": self.service_id})

    def send_events_to(self, app_host: str, depends_on: list[pulumi.Resource]) -> None:
        """Makes the hub, whose events the app receives: it accepts or refuses at `connect`.

        The service calls the app directly. Front Door's rate limit per client address would count all
        connections of an opening bell as one client's. The token of the service's identity proves the sender.
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
            opts=self._turns.options(pulumi.ResourceOptions(parent=self, depends_on=depends_on)),
        )


def _client_connections_only() -> webpubsub.WebPubSubNetworkACLsArgs:
    """Allows only client connections from the internet; private endpoints may do everything."""
    return webpubsub.WebPubSubNetworkACLsArgs(
        default_action="Allow",
        public_network=webpubsub.NetworkACLArgs(deny=["RESTAPI", "ServerConnection", "Trace"]),
    )
