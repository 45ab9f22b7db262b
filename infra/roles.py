"""Lists every role assignment: who may do what, where, and why. Redis has an access policy of its own."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization

from infra.naming import PROJECT
from infra.settings.business_keys import VENDOR_SECRETS

# Azure's built-in roles have the same id in every tenant.
ROLE_IDS = {
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Web PubSub Service Owner": "12cf5a90-567b-43ae-8102-96cf46c7d9b4",
}

# What a role is over: a service, a table, or a secret of the vault.
type Scope = str


@dataclass(frozen=True, slots=True)
class Assignment:
    """A role of the app's identity over one scope; `key` names it in the stack."""

    key: str
    role: str
    scope: Scope
    why: str
    condition: str | None = None


def vendor_scope(name: str) -> Scope:
    """The scope of a vendor's secret, and the key of the role over it."""
    return f"secret-{name.replace('_', '-')}"


_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
# Of the role's rights over blobs, only `add/action` has no condition: it makes a blob that does not exist. No
# built-in role has it alone, and a role of our own would need an owner at each change. The expression is
# false in every container, because no container's name is so short.
_ONLY_ADDS = (
    "("
    + "("
    + " AND ".join(
        f"!(ActionMatches{{'{_BLOBS}/{action}'}})" for action in ("read", "write", "delete", "move/action")
    )
    + ") OR "
    + "(@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals '-')"
    + ")"
)

ASSIGNMENTS = (
    Assignment(
        "host-blobs",
        "Storage Blob Data Owner",
        "host-storage",
        "The function host leases blobs so that a timer runs once, makes its containers, and reads packages",
    ),
    Assignment(
        "host-queues",
        "Storage Queue Data Contributor",
        "host-storage",
        "The function host opens its own queues when it opens its storage",
    ),
    Assignment(
        "host-tables",
        "Storage Table Data Contributor",
        "host-storage",
        "The function host writes its diagnostic events",
    ),
    Assignment(
        "licenses", "Storage Table Data Contributor", "table-licenses", "The app reads and writes licenses"
    ),
    Assignment(
        "api-keys",
        "Storage Table Data Contributor",
        "table-apikeys",
        "The app reads and writes hashes of API keys",
    ),
    Assignment(
        "endings",
        "Storage Table Data Contributor",
        "table-endings",
        "The app reads and writes which licenses and keys end",
    ),
    Assignment(
        "exports",
        "Storage Blob Data Contributor",
        "license-exports",
        "The app adds exports of licenses, and can neither read, replace nor delete them",
        _ONLY_ADDS,
    ),
    Assignment(
        "pepper", "Key Vault Secrets User", "pepper", "App Service resolves API_KEY_PEPPER as the app"
    ),
    Assignment(
        "pepper-previous",
        "Key Vault Secrets User",
        "pepper-previous",
        "App Service resolves API_KEY_PEPPER_PREVIOUS as the app while API keys move to the new pepper",
    ),
    *(
        Assignment(
            vendor_scope(name),
            "Key Vault Secrets User",
            vendor_scope(name),
            f"App Service resolves {name.upper()} as the app",
        )
        for name in VENDOR_SECRETS
    ),
    Assignment(
        "webpubsub",
        "Web PubSub Service Owner",
        "webpubsub",
        "The app publishes, closes connections and issues client access tokens",
    ),
    Assignment(
        "telemetry",
        "Monitoring Metrics Publisher",
        "application-insights",
        "The app sends telemetry as its identity, because Application Insights refuses keys",
    ),
)


def assign(
    scopes: Mapping[Scope, pulumi.Input[str]],
    *,
    principal_id: pulumi.Output[str],
    subscription_id: pulumi.Output[str],
) -> list[authorization.RoleAssignment]:
    """Makes every assignment of the table; `scopes` holds the resource id of each scope."""
    return [
        authorization.RoleAssignment(
            f"role-{row.key}",
            authorization.RoleAssignmentArgs(
                role_assignment_name=_name(row, principal_id),
                scope=scopes[row.scope],
                role_definition_id=pulumi.Output.concat(
                    "/subscriptions/",
                    subscription_id,
                    "/providers/Microsoft.Authorization/roleDefinitions/",
                    ROLE_IDS[row.role],
                ),
                principal_id=principal_id,
                # With the type, Azure does not look up the identity, which its directory may not have yet.
                principal_type="ServicePrincipal",
                description=row.why,
                condition=row.condition,
                condition_version="2.0" if row.condition else None,
            ),
        )
        for row in ASSIGNMENTS
    ]


def _name(row: Assignment, principal_id: pulumi.Output[str]) -> pulumi.Output[str]:
    """A GUID that is the same on every run, and another one for another identity.

    Azure refuses an assignment whose name belongs to another principal. Such an assignment may be left on a
    resource that was kept when its stack was destroyed, for an identity that was not.
    """
    return principal_id.apply(
        lambda principal: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PROJECT}/{row.key}/{principal}"))
    )
