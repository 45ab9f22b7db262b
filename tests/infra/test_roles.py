"""Roles cover the resources that the app needs, and no others."""

import re

import pytest

from infra.offline.azure_answers import guid
from infra.offline.recording import Recording, record
from infra.roles import ASSIGNMENTS, ROLE_IDS
from tests.infra.recording import SELF_CONTAINED, recorded

ASSIGNMENT = "Microsoft.Authorization/roleAssignments"

# Role, type of the resource it is over, and that resource's own name in the program: from Azure's list of
# built-in roles, and from what the function host asks for where it uses an identity.
EXPECTED = {
    ("b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "Microsoft.Storage/storageAccounts", "host-storage"),
    ("974c5e8b-45b9-4653-ba55-5f855dd0fb88", "Microsoft.Storage/storageAccounts", "host-storage"),
    ("0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "Microsoft.Storage/storageAccounts", "host-storage"),
    (
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "Microsoft.Storage/storageAccounts/tableServices/tables",
        "table-licenses",
    ),
    (
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "Microsoft.Storage/storageAccounts/tableServices/tables",
        "table-apikeys",
    ),
    (
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "Microsoft.Storage/storageAccounts/tableServices/tables",
        "table-endings",
    ),
    (
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "Microsoft.Storage/storageAccounts/blobServices/containers",
        "license-exports",
    ),
    ("4633458b-17de-408a-b874-0445c86b69e6", "Microsoft.KeyVault/vaults/secrets", "api-key-pepper"),
    ("4633458b-17de-408a-b874-0445c86b69e6", "Microsoft.KeyVault/vaults/secrets", "api-key-pepper-previous"),
    *(
        ("4633458b-17de-408a-b874-0445c86b69e6", "Microsoft.KeyVault/vaults/secrets", name)
        for name in (
            *("stripe-webhook-secret", "whop-webhook-secret", "discord-bot-token"),
            *("notify-community", "notify-ops", "notify-oncall"),
            *("notify-telegram", "notify-sms", "notify-mail"),
        )
    ),
    ("12cf5a90-567b-43ae-8102-96cf46c7d9b4", "Microsoft.SignalRService/webPubSub", "webpubsub"),
    ("3913510d-42f4-4e42-8a64-420c390055eb", "Microsoft.Insights/components", "application-insights"),
}


@pytest.fixture(params=SELF_CONTAINED)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def test_every_role_is_over_the_right_resource(stack: Recording) -> None:
    found = set()
    for assignment in stack.of_type(ASSIGNMENT):
        over = stack.by_id(assignment.inputs["scope"])
        role = assignment.inputs["roleDefinitionId"].rsplit("/", 1)[-1]
        found.add((role, over.type, over.name))
    assert found == EXPECTED
    assert len(stack.of_type(ASSIGNMENT)) == len(ASSIGNMENTS) == len(EXPECTED)


def test_roles_are_the_app_identity_s_alone(stack: Recording) -> None:
    (identity,) = (
        each
        for each in stack.of_type("Microsoft.ManagedIdentity/userAssignedIdentities")
        if each.name == "app-identity"
    )
    for assignment in stack.of_type(ASSIGNMENT):
        assert assignment.inputs["principalId"] == stack.outputs["identity_principal_id"]
        assert assignment.inputs["principalType"] == "ServicePrincipal"
        assert identity.urn in assignment.depends_on


def test_no_scope_is_wider_than_one_resource(stack: Recording) -> None:
    for assignment in stack.of_type(ASSIGNMENT):
        assert "/providers/" in assignment.inputs["scope"].split("/resourceGroups/")[1]


def names_of(stack: Recording) -> set[str]:
    return {each.inputs["roleAssignmentName"] for each in stack.of_type(ASSIGNMENT)}


def test_assignments_have_guids_of_their_own(stack: Recording) -> None:
    assert len(names_of(stack)) == len(ASSIGNMENTS)


def test_every_run_finds_its_assignments_again() -> None:
    stack = recorded("dev")
    assert names_of(record(stack.settings)) == names_of(stack)
    others = [names_of(recorded(variant)) for variant in ("dev", "prod", "premium")]
    assert len(set.union(*others)) == 3 * len(ASSIGNMENTS)


def test_another_identity_gets_assignments_of_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure would refuse to change the principal of an assignment that was left on a kept resource."""
    before = names_of(recorded("dev"))
    monkeypatch.setattr("infra.offline.azure_answers.guid", lambda text: guid(f"made again: {text}"))
    assert not names_of(record(recorded("dev").settings)) & before


def test_the_app_starts_after_its_roles(stack: Recording) -> None:
    app = stack.only("Microsoft.Web/sites")
    for assignment in stack.of_type(ASSIGNMENT):
        assert assignment.urn in app.depends_on


def test_the_table_names_no_role_that_it_does_not_use() -> None:
    assert {row.role for row in ASSIGNMENTS} == set(ROLE_IDS)
    assert all(row.why for row in ASSIGNMENTS)


def test_redis_knows_the_app_by_an_access_policy(stack: Recording) -> None:
    access = stack.only("Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments")
    assert access.inputs["accessPolicyName"] == "default"
    assert access.inputs["user"] == {"objectId": stack.outputs["identity_principal_id"]}
    assert access.urn in stack.only("Microsoft.Web/sites").depends_on


def test_web_pubsub_s_identity_may_do_nothing(stack: Recording) -> None:
    principals = {each.inputs["principalId"] for each in stack.of_type(ASSIGNMENT)}
    assert stack.outputs["events_principal_id"] not in principals


def test_the_app_only_adds_exports(stack: Recording) -> None:
    """Its role could read, replace and delete blobs, but its condition denies all of that."""
    (adding,) = (each for each in stack.of_type(ASSIGNMENT) if "condition" in each.inputs)
    assert adding.inputs["conditionVersion"] == "2.0"
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
    denied = re.findall(rf"!\(ActionMatches\{{'{blobs}/([a-z/]+)'\}}\)", adding.inputs["condition"])
    assert denied == ["read", "write", "delete", "move/action"]
    container = stack.by_id(adding.inputs["scope"]).inputs["containerName"]
    assert f"StringEquals '{container}'" not in adding.inputs["condition"]
