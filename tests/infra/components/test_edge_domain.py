"""A name of one's own on Front Door, the headers for browsers, and the app of a second region."""

import pytest

from functions.web.answers import Answer, response_of
from infra.components.edge_headers import SECURITY_HEADERS
from infra.offline.recording import Recording, Resource
from tests.infra.components.test_edge import FIREWALL, PROFILE, paths
from tests.infra.recording import TWO_REGIONS, recorded, recorded_with

DOMAIN = TWO_REGIONS["domain"]
SECOND = TWO_REGIONS["second_origin_host"]


@pytest.fixture(scope="module")
def stack() -> Recording:
    return recorded("prod-two")


def test_bots_use_the_domain_and_azure_keeps_its_certificate(stack: Recording) -> None:
    domain = stack.only(f"{PROFILE}/customDomains")
    assert domain.inputs["hostName"] == DOMAIN
    assert domain.inputs["tlsSettings"] == {
        "certificateType": "ManagedCertificate",
        "minimumTlsVersion": "TLS12",
    }
    assert stack.outputs["url"] == f"https://{DOMAIN}"
    (test,) = stack.of_type("Microsoft.Insights/webtests")
    assert test.inputs["request"]["requestUrl"] == f"https://{DOMAIN}/api/health/ready"


def test_the_former_name_keeps_working_beside_the_domain(stack: Recording) -> None:
    route = stack.only(f"{PROFILE}/afdEndpoints/routes")
    assert route.inputs["customDomains"] == [{"id": stack.only(f"{PROFILE}/customDomains").id}]
    assert route.inputs["linkToDefaultDomain"] == "Enabled"


def test_the_firewall_is_before_every_name(stack: Recording) -> None:
    policy = stack.only(f"{PROFILE}/securityPolicies").inputs["parameters"]
    (association,) = policy["associations"]
    names = {stack.only(f"{PROFILE}/{kind}").id for kind in ("afdEndpoints", "customDomains")}
    assert {each["id"] for each in association["domains"]} == names
    assert policy["wafPolicy"]["id"] == stack.only(FIREWALL).id


def test_a_zone_in_azure_gets_the_records(stack: Recording) -> None:
    proof, name = stack.only("Microsoft.Network/dnsZones/TXT"), stack.only("Microsoft.Network/dnsZones/CNAME")
    assert proof.id.endswith("/dnsZones/example.com/TXT/_dnsauth.api.signals")
    assert len(proof.inputs["txtRecords"][0]["value"][0]) > 20
    assert stack.only(f"{PROFILE}/customDomains").urn in proof.depends_on
    assert name.id.endswith("/dnsZones/example.com/CNAME/api.signals")
    assert name.inputs["cnameRecord"]["cname"] == stack.outputs["front_door_host"]
    assert {each.inputs["resourceGroupName"] for each in (proof, name)} == {"rg-names"}
    assert stack.only(f"{PROFILE}/afdEndpoints/routes").urn in name.depends_on
    assert not {"domain_txt_record", "domain_cname_record"} & set(stack.outputs)


def test_without_a_zone_the_outputs_say_which_records_to_make() -> None:
    stack = recorded_with("prod", domain=DOMAIN)
    assert not [each for each in stack.resources if "/dnsZones/" in each.id]
    name, kind, token = stack.outputs["domain_txt_record"].split()
    assert (name, kind) == (f"_dnsauth.{DOMAIN}", "TXT")
    assert len(token) > 20
    assert stack.outputs["domain_cname_record"] == f"{DOMAIN} CNAME {stack.outputs['front_door_host']}"


def test_a_domain_replaces_nothing_that_bots_use() -> None:
    before, after = recorded("prod"), recorded_with("prod", domain=DOMAIN)
    same = {each.urn: each for each in after.resources}
    for resource in before.resources:
        assert resource.urn in same, resource.name
        if resource.name in {"front-door", "front-door-endpoint", "front-door-origins", "firewall"}:
            assert same[resource.urn].inputs == resource.inputs


@pytest.mark.parametrize("variant", ["prod", "premium", "prod-two"])
def test_answers_tell_browsers_what_they_may_do(variant: str) -> None:
    stack = recorded(variant)
    rules, rule = stack.only(f"{PROFILE}/ruleSets"), stack.only(f"{PROFILE}/ruleSets/rules")
    route = stack.only(f"{PROFILE}/afdEndpoints/routes")
    assert route.inputs["ruleSets"] == [{"id": rules.id}]
    assert rule.urn in route.depends_on, "an empty set would be on the route for a while"
    sent = {each["parameters"]["headerName"]: each["parameters"] for each in rule.inputs["actions"]}
    assert {name: each["value"] for name, each in sent.items()} == SECURITY_HEADERS
    assert {each["headerAction"] for each in sent.values()} == {"Overwrite"}
    assert "conditions" not in rule.inputs
    # Azure allows no more actions in a rule.
    assert len(sent) <= 5
    assert "max-age=31536000" in SECURITY_HEADERS["Strict-Transport-Security"]


def test_front_door_adds_no_header_that_the_app_sends_itself() -> None:
    sent = response_of(Answer({"status": "pass"}), "request-1", None).headers
    assert sent["x-content-type-options"] == "nosniff"
    assert not {name.lower() for name in SECURITY_HEADERS} & {name.lower() for name in sent}


def origins(stack: Recording) -> tuple[Resource, ...]:
    return stack.of_type(f"{PROFILE}/originGroups/origins")


def test_the_second_region_gets_requests_only_if_the_first_cannot_serve(stack: Recording) -> None:
    first, second = origins(stack)
    assert (first.inputs["priority"], second.inputs["priority"]) == (1, 2)
    assert second.inputs["hostName"] == second.inputs["originHostHeader"] == SECOND
    assert second.inputs["enforceCertificateNameCheck"] is True
    assert first.urn in second.depends_on, "Azure adds one origin of a group at a time"
    route = stack.only(f"{PROFILE}/afdEndpoints/routes")
    assert {first.urn, second.urn} <= route.depends_on
    assert first.inputs == origins(recorded("prod"))[0].inputs


def test_with_two_regions_the_probe_asks_which_one_is_active(stack: Recording) -> None:
    probe = stack.only(f"{PROFILE}/originGroups").inputs["healthProbeSettings"]
    assert probe["probePath"] == "/api/health/active"
    assert probe["probePath"] in paths()
    assert probe["probeIntervalInSeconds"] == 30
    alone = recorded("prod").only(f"{PROFILE}/originGroups").inputs["healthProbeSettings"]
    assert alone["probePath"] == "/api/health"


def test_the_alert_on_origins_knows_that_one_region_is_passive(stack: Recording) -> None:
    def limit(of: Recording) -> float:
        (alert,) = (
            each for each in of.of_type("Microsoft.Insights/metricAlerts") if each.name == "alert-edge-origin"
        )
        (criterion,) = alert.inputs["criteria"]["allOf"]
        return float(criterion["threshold"])

    assert limit(recorded("prod")) == 50
    assert limit(stack) == 25, "half of all probes fail while all is well"
