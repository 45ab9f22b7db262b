"""The policies: every stack meets them, each rule finds its violation, the pack answers the CLI's calls."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from infra.offline.arm import api_version, schema_name
from infra.offline.azure_types import schema_of
from infra.offline.recording import Resource
from infra.policies.rules import RULES, STACK_RULES, Subject
from infra.policies.tables import (
    ALLOWED_REGIONS,
    ALLOWED_SKUS,
    HOLDS_DATA,
    NOT_DIAGNOSED,
    OPEN_STACKS,
    PUBLIC_SERVICE_STACKS,
    TAGGED,
)
from infra.settings.model import PLAN_SIZES
from infra.settings.regions import REGIONS
from local.places import ROOT
from local.setup.tools import POLICIES, ensure_tool
from tests.infra.recording import VARIANTS, recorded

PROVIDER = "azure-native:"


def subject_of(stack: str, resource: Resource) -> Subject:
    return Subject(
        stack=stack,
        token=resource.token.removeprefix(PROVIDER),
        name=resource.name,
        urn=resource.urn,
        inputs=resource.inputs,
        protect=resource.protect,
        depends_through=resource.depends_through,
    )


def subjects_of(variant: str) -> list[Subject]:
    stack = VARIANTS[variant][0]
    return [subject_of(stack, resource) for resource in recorded(variant).resources]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_stacks_keep_every_rule(variant: str) -> None:
    subjects = subjects_of(variant)
    found = [
        f"{name}: {subject.name}: {violation}"
        for subject in subjects
        for name, rule in RULES.items()
        for violation in rule(subject)
    ]
    found += [f"{name}: {text}" for name, rule in STACK_RULES.items() for _, text in rule(subjects)]
    assert not found, "\n".join(found)


def changed(token: str, path: str, value: object, variant: str = "prod") -> Subject:
    """A variant's resource of a type, with another input at a dotted path."""
    subject = next(subject for subject in subjects_of(variant) if subject.token == token)
    return replace(subject, inputs=_with(subject.inputs, path.split("."), value))


def _with(inputs: Mapping[str, Any], path: list[str], value: object) -> dict[str, Any]:
    inner = value if len(path) == 1 else _with(inputs.get(path[0]) or {}, path[1:], value)
    return {**inputs, path[0]: inner}


VIOLATIONS: tuple[tuple[str, str, str, object, str], ...] = (
    ("tags", "redisenterprise:RedisEnterprise", "tags", {"project": "x"}, "tag owner is missing"),
    ("tags", "web:WebApp", "tags.stack", "dev", "tag stack must be prod, got dev"),
    ("regions", "storage:StorageAccount", "location", "westeurope", "region westeurope is not allowed"),
    ("skus", "web:AppServicePlan", "sku.name", "P5mv3", "SKU P5mv3 is not allowed"),
    (
        "skus",
        "compute:VirtualMachine",
        "hardwareProfile.vmSize",
        "Standard_D64s_v5",
        "SKU Standard_D64s_v5 is not allowed",
    ),
    (
        "no-shared-keys",
        "compute:VirtualMachine",
        "osProfile.linuxConfiguration.disablePasswordAuthentication",
        False,
        "osProfile.linuxConfiguration.disablePasswordAuthentication must be True, got False",
    ),
    (
        "no-public-data-plane",
        "network:NetworkInterface",
        "ipConfigurations",
        [{"name": "operations", "publicIPAddress": {"id": "x"}}],
        "the machine has a public address",
    ),
    ("skus", "redisenterprise:RedisEnterprise", "sku.name", "Balanced_B1000", "SKU Balanced_B1000"),
    ("skus", "dbforpostgresql:Server", "sku.name", "Standard_E96ds_v5", "SKU Standard_E96ds_v5"),
    ("skus", "webpubsub:WebPubSub", "sku.name", "Premium_P2", "SKU Premium_P2 is not allowed"),
    ("tls", "web:WebApp", "httpsOnly", False, "httpsOnly must be True"),
    ("tls", "web:WebAppSlot", "siteConfig.minTlsVersion", "1.0", "siteConfig.minTlsVersion must be 1.2"),
    ("tls", "web:WebApp", "siteConfig.ftpsState", "AllAllowed", "siteConfig.ftpsState must be Disabled"),
    ("tls", "storage:StorageAccount", "minimumTlsVersion", "TLS1_0", "minimumTlsVersion must be TLS1_2"),
    ("tls", "redisenterprise:Database", "clientProtocol", "Plaintext", "clientProtocol must be Encrypted"),
    ("tls", "cdn:Route", "forwardingProtocol", "HttpOnly", "forwardingProtocol must be HttpsOnly"),
    ("no-shared-keys", "storage:StorageAccount", "allowSharedKeyAccess", True, "allowSharedKeyAccess"),
    ("no-shared-keys", "redisenterprise:Database", "accessKeysAuthentication", "Enabled", "must be Disabled"),
    ("no-shared-keys", "dbforpostgresql:Server", "authConfig.passwordAuth", "Enabled", "must be Disabled"),
    ("no-shared-keys", "webpubsub:WebPubSub", "disableLocalAuth", False, "disableLocalAuth must be True"),
    ("no-shared-keys", "web:WebAppScmAllowed", "allow", True, "allow must be False"),
    ("no-shared-keys", "keyvault:Vault", "properties.enableRbacAuthorization", False, "must be True"),
    ("no-public-data-plane", "storage:StorageAccount", "publicNetworkAccess", "Enabled", "must be Disabled"),
    ("no-public-data-plane", "storage:StorageAccount", "allowBlobPublicAccess", True, "must be False"),
    ("no-public-data-plane", "keyvault:Vault", "properties.publicNetworkAccess", "Enabled", "Disabled"),
    ("no-public-data-plane", "redisenterprise:RedisEnterprise", "publicNetworkAccess", "Enabled", "Disabled"),
    ("no-public-data-plane", "dbforpostgresql:Server", "network.publicNetworkAccess", "Enabled", "Disabled"),
    ("no-public-data-plane", "webpubsub:WebPubSub", "networkACLs", {}, "RESTAPI, ServerConnection, Trace"),
    ("no-public-data-plane", "web:WebApp", "siteConfig.ipSecurityRestrictionsDefaultAction", "Allow", "Door"),
)


@pytest.mark.parametrize(("rule", "token", "path", "value", "said"), VIOLATIONS)
def test_a_violation_is_named(rule: str, token: str, path: str, value: object, said: str) -> None:
    found = list(RULES[rule](changed(token, path, value)))
    assert any(said in violation for violation in found), found


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("siteConfig.ftpsState", "Disabled", "Flex Consumption refuses siteConfig.ftpsState"),
        ("siteConfig.netFrameworkVersion", "v4.6", "Flex Consumption refuses siteConfig.netFrameworkVersion"),
        ("isXenon", False, "Flex Consumption refuses isXenon"),
        (
            "siteConfig.appSettings",
            [{"name": "FUNCTIONS_WORKER_RUNTIME", "value": "python"}],
            "Flex Consumption refuses the setting FUNCTIONS_WORKER_RUNTIME",
        ),
    ],
)
def test_what_flex_consumption_refuses_is_named(path: str, value: object, said: str) -> None:
    assert list(RULES["flex"](changed("web:WebApp", path, value, "dev"))) == [said]
    assert not list(RULES["flex"](changed("web:WebApp", path, value)))


def test_ftp_must_be_off_wherever_there_is_ftp() -> None:
    assert list(RULES["tls"](changed("web:WebApp", "siteConfig.ftpsState", None)))
    assert not list(RULES["tls"](changed("web:WebApp", "siteConfig.ftpsState", None, "dev")))


def test_a_vault_that_can_be_purged_is_named() -> None:
    path = "properties.enablePurgeProtection"
    assert list(RULES["protected-data"](changed("keyvault:Vault", path, None)))
    assert not list(RULES["protected-data"](changed("keyvault:Vault", path, None, "rehearse")))


def test_a_parameter_that_lets_clients_talk_in_the_clear_is_named() -> None:
    subject = changed("dbforpostgresql:Configuration", "configurationName", "require_secure_transport")
    in_the_clear = replace(subject, inputs={**subject.inputs, "value": "off"})
    assert list(RULES["tls"](in_the_clear)) == ["require_secure_transport must be on, got off"]


def test_a_firewall_rule_is_allowed_where_developers_work_alone() -> None:
    subject, *_ = [s for s in subjects_of("dev") if s.token == "dbforpostgresql:FirewallRule"]
    assert subject.stack in OPEN_STACKS
    assert not list(RULES["no-public-data-plane"](subject))
    assert list(RULES["no-public-data-plane"](replace(subject, stack="prod")))


def test_lean_opens_services_to_entra_id_and_nothing_else() -> None:
    """Its services may have public addresses; a wide firewall and a way round Front Door are refused."""
    subjects = subjects_of("lean")
    assert {"lean"} == PUBLIC_SERVICE_STACKS
    assert {subject.stack for subject in subjects}.isdisjoint(OPEN_STACKS)
    rule = RULES["no-public-data-plane"]
    by_token = {subject.token: subject for subject in subjects}
    vault = by_token["keyvault:Vault"]
    assert not list(rule(vault))
    assert list(rule(replace(vault, stack="prod"))), "elsewhere it must be private"
    wall = by_token["dbforpostgresql:FirewallRule"]
    for last, admitted in (("203.0.113.255", 256), ("203.0.114.0", 257), ("255.255.255.255", 889_163_520)):
        opened = replace(wall, inputs={**wall.inputs, "startIpAddress": "203.0.113.0", "endIpAddress": last})
        said = [f"the firewall rule admits {admitted:,} addresses, more than 256"] if admitted > 256 else []
        assert list(rule(opened)) == said
    for token in ("web:WebApp", "web:WebAppSlot"):
        app = by_token[token]
        opened = replace(
            app, inputs=_with(app.inputs, ["siteConfig", "ipSecurityRestrictionsDefaultAction"], "Allow")
        )
        assert list(rule(opened)) == ["the app accepts requests that did not pass its Front Door"]
    account = by_token["storage:StorageAccount"]
    anonymous = replace(account, inputs={**account.inputs, "allowBlobPublicAccess": True})
    assert list(rule(anonymous)) == ["allowBlobPublicAccess must be False, got True"]


@pytest.mark.parametrize("token", sorted(HOLDS_DATA))
def test_data_without_protection_is_named(token: str) -> None:
    subject = next(s for s in subjects_of("prod") if s.token == token)
    assert list(RULES["protected-data"](replace(subject, protect=False))) == [
        "the resource holds data and must be protected"
    ]


def test_a_service_without_diagnostics_is_named() -> None:
    kept = [
        subject
        for subject in subjects_of("prod")
        if not (subject.token == "monitor:DiagnosticSetting" and "/vaults/" in str(subject.at("resourceUri")))
    ]
    (violation,) = STACK_RULES["diagnostics"](kept)
    assert violation[1] == "vault must have a diagnostic setting"


def test_a_type_that_nobody_thought_of_has_to_tell_of_itself() -> None:
    subject = replace(subjects_of("prod")[0], token="eventhub:Namespace", urn="urn:new", name="new")
    (violation,) = STACK_RULES["diagnostics"]([*subjects_of("prod"), subject])
    assert violation == ("urn:new", "new must have a diagnostic setting")


def test_every_exception_from_diagnostics_is_a_type_of_ours_and_says_why() -> None:
    made = {s.token for variant in VARIANTS for s in subjects_of(variant)}
    assert set(NOT_DIAGNOSED) <= made
    assert all(NOT_DIAGNOSED.values())


def test_settings_and_policies_agree_on_sizes_of_plans_and_on_regions() -> None:
    assert ALLOWED_SKUS["web:AppServicePlan"] == {*PLAN_SIZES, "FC1"}
    assert {*REGIONS, "global"} == ALLOWED_REGIONS


def test_the_tagged_types_are_those_that_azure_lets_be_tagged() -> None:
    for resource in {r.token: r for v in VARIANTS for r in recorded(v).resources}.values():
        schema = schema_of(schema_name(resource), api_version(resource.token))
        outer = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        takes_tags = not outer["properties"].get("tags", {"readOnly": True}).get("readOnly")
        # Two types share a body with one that takes tags; Azure takes none on them.
        shares_a_body = resource.type.endswith(("/config", "/hubs", "/slots/staging"))
        assert (resource.token.removeprefix(PROVIDER) in TAGGED) == (takes_tags and not shares_a_body), (
            resource.token
        )


@pytest.fixture(scope="module")
def analyzer() -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """The pack as the CLI starts it, in its own environment; it prints its port and answers over gRPC."""
    python = ensure_tool("policies", POLICIES)
    command = [str(python), "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(ROOT / "infra" / "policies")]
    environment = {
        **os.environ,
        "PULUMI_PROJECT": "signal-cloud",
        "PULUMI_STACK": "prod",
        "PULUMI_DRY_RUN": "true",
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdigit()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
        process.terminate()


def _struct(inputs: Mapping[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(dict(inputs), struct_pb2.Struct())


def test_the_pack_lists_every_rule(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    info = analyzer.GetAnalyzerInfo(struct_pb2.Struct())
    assert {policy.name for policy in info.policies} == {*RULES, *STACK_RULES}
    assert all(policy.enforcementLevel == analyzer_pb2.MANDATORY for policy in info.policies)


def test_the_pack_passes_a_stack_and_names_a_violation(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    for resource in recorded("prod").resources:
        answer = analyzer.Analyze(_analyze(resource, resource.inputs))
        assert not answer.diagnostics, answer
    account = recorded("prod").of_type("Microsoft.Storage/storageAccounts")[0]
    answer = analyzer.Analyze(_analyze(account, {**account.inputs, "allowSharedKeyAccess": True}))
    (diagnostic,) = answer.diagnostics
    assert diagnostic.policyName == "no-shared-keys"
    assert "allowSharedKeyAccess must be False, got True" in diagnostic.message


def test_the_pack_misses_diagnostics_across_the_stack(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    resources = recorded("prod").resources
    complete = analyzer.AnalyzeStack(_analyze_stack(resources))
    assert not complete.diagnostics, complete
    without = tuple(r for r in resources if not r.name.startswith("diagnostics"))
    assert len(without) < len(resources)
    answer = analyzer.AnalyzeStack(_analyze_stack(without))
    assert {diagnostic.policyName for diagnostic in answer.diagnostics} == {"diagnostics"}


def _analyze(resource: Resource, inputs: Mapping[str, Any]) -> analyzer_pb2.AnalyzeRequest:
    return analyzer_pb2.AnalyzeRequest(
        type=resource.token,
        urn=resource.urn,
        name=resource.name,
        properties=_struct(inputs),
        options=analyzer_pb2.AnalyzerResourceOptions(protect=resource.protect),
    )


def _analyze_stack(resources: tuple[Resource, ...]) -> analyzer_pb2.AnalyzeStackRequest:
    present = {resource.urn for resource in resources}
    return analyzer_pb2.AnalyzeStackRequest(
        resources=[
            analyzer_pb2.AnalyzerResource(
                type=resource.token,
                urn=resource.urn,
                name=resource.name,
                properties=_struct(resource.inputs),
                options=analyzer_pb2.AnalyzerResourceOptions(protect=resource.protect),
                propertyDependencies={
                    name: analyzer_pb2.AnalyzerPropertyDependencies(urns=sorted(urns & present))
                    for name, urns in resource.depends_through.items()
                },
            )
            for resource in resources
        ]
    )
