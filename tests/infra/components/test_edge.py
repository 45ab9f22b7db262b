"""Front Door, and Web PubSub."""

import pytest

from functions.openapi import document
from infra.offline.recording import Recording, Resource
from shared.adapters.strategies import shipped_strategies
from tests.infra.recording import VARIANTS, recorded
from tests.support.app import functions

PROFILE = "Microsoft.Cdn/profiles"
FIREWALL = "Microsoft.Network/frontDoorWebApplicationFirewallPolicies"
WEBPUBSUB = "Microsoft.SignalRService/webPubSub"


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


@pytest.fixture(params=["prod", "premium"])
def fronted(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def test_dev_has_no_front_door() -> None:
    stack = recorded("dev")
    assert not stack.of_type(PROFILE)
    assert not stack.of_type(FIREWALL)
    assert stack.outputs["url"] == stack.outputs["app_url"]


def test_front_door_leads_to_the_app_over_https(fronted: Recording) -> None:
    app_host = f"{fronted.outputs['app_name']}.azurewebsites.net"
    origin = fronted.only(f"{PROFILE}/originGroups/origins")
    assert origin.inputs["hostName"] == origin.inputs["originHostHeader"] == app_host
    assert origin.inputs["enforceCertificateNameCheck"] is True
    assert fronted.outputs["app_url"] == f"https://{app_host}"
    route = fronted.only(f"{PROFILE}/afdEndpoints/routes")
    assert route.inputs["supportedProtocols"] == ["Https"]
    assert route.inputs["forwardingProtocol"] == "HttpsOnly"
    assert route.inputs["patternsToMatch"] == ["/api/*"]
    assert route.inputs["originGroup"]["id"] == fronted.only(f"{PROFILE}/originGroups").id
    assert "cacheConfiguration" not in route.inputs
    assert origin.urn in route.depends_on
    assert "customDomains" not in route.inputs
    assert fronted.outputs["url"].startswith("https://fde-signal-cloud-")


def test_front_door_probes_a_route_that_the_app_serves(fronted: Recording) -> None:
    probe = fronted.only(f"{PROFILE}/originGroups").inputs["healthProbeSettings"]
    assert (probe["probeProtocol"], probe["probeRequestType"]) == ("Https", "HEAD")
    assert probe["probePath"] in paths()


def paths() -> set[str]:
    """Paths of the app's OpenAPI document, under /api."""
    described = document(shipped_strategies())
    base = described["servers"][0]["url"] if described.get("servers") else "/api"
    return {base.rstrip("/") + path for path in described["paths"]}


def test_the_firewall_limits_each_client_and_prevents(fronted: Recording) -> None:
    firewall = fronted.only(FIREWALL)
    assert firewall.inputs["policySettings"]["mode"] == "Prevention"
    assert firewall.inputs["policySettings"]["enabledState"] == "Enabled"
    (rule,) = firewall.inputs["customRules"]["rules"]
    assert rule["ruleType"] == "RateLimitRule"
    assert rule["rateLimitThreshold"] == fronted.settings.edge.requests_per_minute
    assert rule["rateLimitDurationInMinutes"] == 1
    assert rule["groupBy"] == [{"variableName": "SocketAddr"}]
    assert rule["action"] == "Block"
    (association,) = fronted.only(f"{PROFILE}/securityPolicies").inputs["parameters"]["associations"]
    endpoint = fronted.only(f"{PROFILE}/afdEndpoints")
    assert association["domains"] == [{"id": endpoint.id}]
    assert association["patternsToMatch"] == ["/*"]
    policy = fronted.only(f"{PROFILE}/securityPolicies").inputs["parameters"]["wafPolicy"]["id"]
    assert policy == firewall.id


def test_managed_rules_are_premium_s() -> None:
    assert recorded("prod").only(PROFILE).inputs["sku"]["name"] == "Standard_AzureFrontDoor"
    assert "managedRules" not in recorded("prod").only(FIREWALL).inputs
    premium = recorded("premium")
    assert premium.only(PROFILE).inputs["sku"]["name"] == "Premium_AzureFrontDoor"
    rules = premium.only(FIREWALL).inputs["managedRules"]["managedRuleSets"]
    assert [each["ruleSetType"] for each in rules] == [
        "Microsoft_DefaultRuleSet",
        "Microsoft_BotManagerRuleSet",
    ]
    for each in ("prod", "premium"):
        profile, firewall = recorded(each).only(PROFILE), recorded(each).only(FIREWALL)
        assert profile.inputs["sku"]["name"] == firewall.inputs["sku"]["name"]


def test_the_app_answers_this_front_door_and_web_pubsub_alone(fronted: Recording) -> None:
    site = fronted.only("Microsoft.Web/sites").inputs["siteConfig"]
    front_door, web_pubsub = site["ipSecurityRestrictions"]
    assert site["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert (front_door["tag"], front_door["ipAddress"]) == ("ServiceTag", "AzureFrontDoor.Backend")
    assert front_door["headers"] == {"x-azure-fdid": [front_door_id(fronted)]}
    assert (web_pubsub["tag"], web_pubsub["ipAddress"]) == ("ServiceTag", "AzureWebPubSub")
    assert {front_door["action"], web_pubsub["action"]} == {"Allow"}
    assert front_door["priority"] < web_pubsub["priority"]


def front_door_id(stack: Recording) -> str:
    from infra.offline.azure_answers import guid

    return guid(stack.only(PROFILE).id)


def test_without_front_door_the_app_answers_everybody() -> None:
    site = recorded("dev").only("Microsoft.Web/sites").inputs["siteConfig"]
    assert site["ipSecurityRestrictions"] == []
    assert site["ipSecurityRestrictionsDefaultAction"] == "Allow"


def test_web_pubsub_takes_no_keys_and_no_strangers(stack: Recording) -> None:
    service = stack.only(WEBPUBSUB).inputs
    assert service["disableLocalAuth"] is True
    assert service["disableAadAuth"] is False
    hub = stack.only(f"{WEBPUBSUB}/hubs").inputs
    assert hub["hubName"] == "signals"
    assert hub["properties"]["anonymousConnectPolicy"] == "deny"


def test_web_pubsub_asks_the_app_about_connections(stack: Recording) -> None:
    hub = stack.only(f"{WEBPUBSUB}/hubs")
    (handler,) = hub.inputs["properties"]["eventHandlers"]
    assert handler["urlTemplate"] == f"{stack.outputs['app_url']}/api/ws/events"
    assert handler["systemEvents"] == ["connect", "connected", "disconnected"]
    assert "userEventPattern" not in handler
    assert handler["auth"]["type"] == "ManagedIdentity"
    assert handler["auth"]["managedIdentity"]["resource"] == "https://webpubsub.azure.com"
    assert stack.only("Microsoft.Web/sites").urn in hub.depends_on
    identity = stack.only(WEBPUBSUB).inputs["identity"]
    assert identity["type"] == "UserAssigned"
    assert identity["userAssignedIdentities"] == [identity_id(stack, "events-identity")]


def test_the_app_serves_what_web_pubsub_asks() -> None:
    (handler,) = recorded("prod").only(f"{WEBPUBSUB}/hubs").inputs["properties"]["eventHandlers"]
    path = handler["urlTemplate"].removeprefix(recorded("prod").outputs["app_url"])
    routes = {
        f"/api/{binding.route}"
        for function in functions().values()
        for binding in function.get_bindings()
        if getattr(binding, "route", None)
    }
    assert path in routes


def identity_id(stack: Recording, name: str) -> str:
    (found,) = (
        each.id
        for each in stack.of_type("Microsoft.ManagedIdentity/userAssignedIdentities")
        if each.name == name
    )
    return found


def test_from_the_internet_only_clients_reach_web_pubsub(fronted: Recording) -> None:
    rules = fronted.only(WEBPUBSUB).inputs["networkACLs"]
    assert rules["defaultAction"] == "Allow"
    assert set(rules["publicNetwork"]["deny"]) == {"RESTAPI", "ServerConnection", "Trace"}
    assert "networkACLs" not in recorded("dev").only(WEBPUBSUB).inputs


@pytest.mark.parametrize(
    ("variant", "sku", "units"),
    [
        ("dev", "Free_F1", 1),
        ("lean", "Standard_S1", 1),
        ("prod", "Premium_P1", 2),
        ("premium", "Premium_P1", 2),
    ],
)
def test_web_pubsub_has_the_size_of_its_stack(variant: str, sku: str, units: int) -> None:
    service: Resource = recorded(variant).only(WEBPUBSUB)
    assert (service.inputs["sku"]["name"], service.inputs["sku"]["capacity"]) == (sku, units)
