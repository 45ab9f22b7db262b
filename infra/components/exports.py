"""Makes the container of the exports of licenses, which nobody changes or deletes before their time."""

import pulumi
from pulumi_azure_native import storage

from infra.components.placement import Placement, Turns, under

# The names and places that shared/adapters/export_blobs.py and shared/services/license_export.py use.
EXPORTS = "license-exports"
EXPORT_DAYS = {"daily": 35, "monthly": 366}
# Below the shorter life, because Azure's lifecycle deletes nothing earlier.
IMMUTABLE_DAYS = 30


def make_exports(
    parent: pulumi.Resource, place: Placement, account: pulumi.Output[str], turns: Turns
) -> pulumi.Output[str]:
    """Makes the container and its rules in the account; returns the container's id."""
    group = place.resource_group_name
    container = turns.take(
        storage.BlobContainer(
            EXPORTS,
            storage.BlobContainerArgs(
                container_name=EXPORTS,
                account_name=account,
                resource_group_name=group,
                public_access=storage.PublicAccess.NONE,
            ),
            opts=turns.options(place.kept(parent)),
        )
    )
    # Unlocked: an owner can end it, so that a stack can be destroyed. docs/operations.md says how to lock it.
    # Azure deletes no account that has such blobs, so a stack without protection has no such rule.
    if place.protect:
        turns.take(
            storage.BlobContainerImmutabilityPolicy(
                "exports-immutability",
                storage.BlobContainerImmutabilityPolicyArgs(
                    account_name=account,
                    container_name=container.name,
                    resource_group_name=group,
                    immutability_policy_name="default",
                    immutability_period_since_creation_in_days=IMMUTABLE_DAYS,
                    allow_protected_append_writes=False,
                ),
                # Kept with its container. Pulumi cannot delete it: it sends no ETag (azure-native #2156).
                opts=turns.options(place.kept(parent)),
            )
        )
    turns.take(
        storage.ManagementPolicy(
            "data-lifecycle",
            storage.ManagementPolicyArgs(
                account_name=account,
                resource_group_name=group,
                management_policy_name="default",
                policy=storage.ManagementPolicySchemaArgs(
                    rules=[_kept_for(kind, days) for kind, days in EXPORT_DAYS.items()]
                ),
            ),
            opts=turns.options(under(parent)),
        )
    )
    return container.id


def _kept_for(kind: str, days: int) -> storage.ManagementPolicyRuleArgs:
    """Deletes the exports of `kind` and their versions so many days after they were made."""
    return storage.ManagementPolicyRuleArgs(
        name=f"exports-{kind}",
        enabled=True,
        type=storage.RuleType.LIFECYCLE,
        definition=storage.ManagementPolicyDefinitionArgs(
            actions=storage.ManagementPolicyActionArgs(
                base_blob=storage.ManagementPolicyBaseBlobArgs(
                    delete=storage.DateAfterModificationArgs(days_after_creation_greater_than=days)
                ),
                version=storage.ManagementPolicyVersionArgs(
                    delete=storage.DateAfterCreationArgs(days_after_creation_greater_than=days)
                ),
            ),
            filters=storage.ManagementPolicyFilterArgs(
                blob_types=["blockBlob"], prefix_match=[f"{EXPORTS}/{kind}/"]
            ),
        ),
    )
