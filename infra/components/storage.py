"""Makes two storage accounts: one for licenses and keys, and one for the function host."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage

from infra.components.network import PrivateTarget
from infra.components.placement import Placement, kept, under

# The names that shared/adapters/table_rows.py uses.
TABLES = ("licenses", "apikeys", "endings")
DEPLOYMENTS = "deployments"
# The names and places that shared/adapters/export_blobs.py and shared/services/license_export.py use.
EXPORTS = "license-exports"
EXPORT_DAYS = {"daily": 35, "monthly": 366}
# Below the shorter life, because Azure's lifecycle deletes nothing before.
IMMUTABLE_DAYS = 30
SOFT_DELETE_DAYS = 14


@dataclass(frozen=True, slots=True)
class StorageArgs:
    """`deployments` is whether the host's account holds packages, as Flex Consumption needs."""

    placement: Placement
    replication: str
    private: bool
    deployments: bool


class Storage(pulumi.ComponentResource):
    """Two accounts, so that the function host's role over its own account covers no license."""

    def __init__(self, name: str, args: StorageArgs) -> None:
        super().__init__("signal-cloud:infra:Storage", name)
        place = args.placement
        self.data_account = place.names.storage_account("data")
        self.host_account = place.names.storage_account("host")
        data = storage.StorageAccount(
            "data-storage", _account(args, self.data_account, args.replication), opts=kept(self)
        )
        # A deployment makes packages and timer states again, but no host runs without them, so they survive
        # the loss of a zone if the data does.
        zonal = "Standard_ZRS" if "ZRS" in args.replication else "Standard_LRS"
        host = storage.StorageAccount(
            "host-storage", _account(args, self.host_account, zonal), opts=kept(self)
        )
        data_blobs = storage.BlobServiceProperties(
            "data-blobs", _blobs(place, data.name, keep_versions=True), opts=under(self)
        )
        # No versions here, because the host rewrites the states of its timers every few seconds.
        host_blobs = storage.BlobServiceProperties(
            "host-blobs", _blobs(place, host.name, keep_versions=False), opts=under(self)
        )
        self.table_ids = {
            table: storage.Table(
                f"table-{table}",
                storage.TableArgs(
                    table_name=table, account_name=data.name, resource_group_name=place.resource_group_name
                ),
                opts=kept(self),
            ).id
            for table in TABLES
        }
        if args.deployments:
            storage.BlobContainer(
                DEPLOYMENTS,
                storage.BlobContainerArgs(
                    container_name=DEPLOYMENTS,
                    account_name=host.name,
                    resource_group_name=place.resource_group_name,
                    public_access=storage.PublicAccess.NONE,
                ),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[host_blobs]),
            )
        self.exports_id = self._exports(place, data, data_blobs)
        self.data_account_id = data.id
        self.host_account_id = host.id
        self.data_blobs_id, self.host_blobs_id = data_blobs.id, host_blobs.id
        self.exports_endpoint = f"https://{self.data_account}.blob.core.windows.net"
        self.tables_endpoint = f"https://{self.data_account}.table.core.windows.net"
        self.deployments_url = f"https://{self.host_account}.blob.core.windows.net/{DEPLOYMENTS}"
        self.register_outputs({"data_account_id": self.data_account_id})

    def _exports(
        self,
        place: Placement,
        account: storage.StorageAccount,
        blobs: storage.BlobServiceProperties,
    ) -> pulumi.Output[str]:
        """Makes the container of the exports of licenses, which nobody can change or delete for a while."""
        container = storage.BlobContainer(
            EXPORTS,
            storage.BlobContainerArgs(
                container_name=EXPORTS,
                account_name=account.name,
                resource_group_name=place.resource_group_name,
                public_access=storage.PublicAccess.NONE,
            ),
            opts=pulumi.ResourceOptions.merge(kept(self), pulumi.ResourceOptions(depends_on=[blobs])),
        )
        # Unlocked: an owner can end it, so that a stack can be destroyed. docs/operations.md says how to lock
        # it.
        policy = storage.BlobContainerImmutabilityPolicy(
            "exports-immutability",
            storage.BlobContainerImmutabilityPolicyArgs(
                account_name=account.name,
                container_name=container.name,
                resource_group_name=place.resource_group_name,
                immutability_policy_name="default",
                immutability_period_since_creation_in_days=IMMUTABLE_DAYS,
                allow_protected_append_writes=False,
            ),
            opts=under(self),
        )
        storage.ManagementPolicy(
            "data-lifecycle",
            storage.ManagementPolicyArgs(
                account_name=account.name,
                resource_group_name=place.resource_group_name,
                management_policy_name="default",
                policy=storage.ManagementPolicySchemaArgs(
                    rules=[_kept_for(kind, days) for kind, days in EXPORT_DAYS.items()]
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        return container.id

    def private_targets(self) -> tuple[PrivateTarget, ...]:
        return (
            PrivateTarget("licenses-table", self.data_account_id, "table"),
            PrivateTarget("exports-blob", self.data_account_id, "blob"),
            PrivateTarget("host-blob", self.host_account_id, "blob"),
            PrivateTarget("host-queue", self.host_account_id, "queue"),
            PrivateTarget("host-table", self.host_account_id, "table"),
        )


def _account(args: StorageArgs, name: str, replication: str) -> storage.StorageAccountArgs:
    place = args.placement
    return storage.StorageAccountArgs(
        account_name=name,
        resource_group_name=place.resource_group_name,
        location=place.location,
        kind="StorageV2",
        sku=storage.SkuArgs(name=replication),
        access_tier=storage.AccessTier.HOT,
        allow_shared_key_access=False,
        default_to_o_auth_authentication=True,
        allow_blob_public_access=False,
        allow_cross_tenant_replication=False,
        is_local_user_enabled=False,
        enable_https_traffic_only=True,
        minimum_tls_version="TLS1_2",
        public_network_access="Disabled" if args.private else "Enabled",
        network_rule_set=storage.NetworkRuleSetArgs(
            default_action=storage.DefaultAction.DENY if args.private else storage.DefaultAction.ALLOW,
            bypass="AzureServices",
        ),
        tags=place.tags,
    )


def _blobs(
    place: Placement, account: pulumi.Output[str], *, keep_versions: bool
) -> storage.BlobServicePropertiesArgs:
    kept_days = storage.DeleteRetentionPolicyArgs(enabled=True, days=SOFT_DELETE_DAYS)
    return storage.BlobServicePropertiesArgs(
        blob_services_name="default",
        account_name=account,
        resource_group_name=place.resource_group_name,
        is_versioning_enabled=keep_versions,
        delete_retention_policy=kept_days
        if keep_versions
        else storage.DeleteRetentionPolicyArgs(enabled=False),
        container_delete_retention_policy=kept_days,
    )


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
