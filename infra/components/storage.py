"""Makes two storage accounts: one for licenses and keys, and one for the function host.

The second region has only the latter: licenses and keys are in the first region's account, which Azure copies
to its pair, and which keeps its name and its tables when it fails over.
"""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage

from infra.components.exports import EXPORTS, make_exports
from infra.components.network import Network, PrivateService, PrivateTarget
from infra.components.placement import Placement, Turns, under

# The names that shared/adapters/table_rows.py uses.
TABLES = ("licenses", "apikeys", "endings")
DEPLOYMENTS = "deployments"
SOFT_DELETE_DAYS = 14


@dataclass(frozen=True, slots=True)
class StorageArgs:
    """`deployments` is whether the host's account holds packages, as Flex Consumption needs.

    `primary_id` is the first region's account of licenses and keys, or empty if this stack makes its own.
    """

    placement: Placement
    replication: str
    network: Network | None
    deployments: bool
    primary_id: str = ""


class Storage(pulumi.ComponentResource):
    """Two accounts, so that the function host's role over its own account covers no license."""

    def __init__(self, name: str, args: StorageArgs) -> None:
        super().__init__("signal-cloud:infra:Storage", name)
        self._args = args
        place = args.placement
        self.host_account = place.names.storage_account("host")
        # A deployment makes packages and timer states again, but no host runs without them, so they survive
        # the loss of a zone if the data does.
        zonal = "Standard_ZRS" if "ZRS" in args.replication else "Standard_LRS"
        host = storage.StorageAccount(
            "host-storage", _account(args, self.host_account, zonal), opts=place.kept(self)
        )
        # An account accepts one change at a time.
        turns = Turns(host)
        self._connect("host-blob", host.id, "blob", turns)
        self._connect("host-queue", host.id, "queue", turns)
        self._connect("host-table", host.id, "table", turns)
        # No versions here, because the host rewrites the states of its timers every few seconds.
        host_blobs = turns.take(
            storage.BlobServiceProperties(
                "host-blobs",
                _blobs(place, host.name, keep_versions=False),
                opts=turns.options(under(self)),
            )
        )
        if args.deployments:
            turns.take(
                storage.BlobContainer(
                    DEPLOYMENTS,
                    storage.BlobContainerArgs(
                        container_name=DEPLOYMENTS,
                        account_name=host.name,
                        resource_group_name=place.resource_group_name,
                        public_access=storage.PublicAccess.NONE,
                    ),
                    opts=turns.options(under(self)),
                )
            )
        self.host_account_id, self.host_blobs_id = host.id, host_blobs.id
        self.deployments_url = f"https://{self.host_account}.blob.core.windows.net/{DEPLOYMENTS}"
        # Empty in the second region, where the first region's stack watches the account.
        self.data_blobs_ids: tuple[pulumi.Output[str], ...] = ()
        if args.primary_id:
            self._share(args.primary_id, turns)
            self.ready: tuple[pulumi.Resource, ...] = (turns.latest,)
        else:
            self.ready = (self._own_data(), turns.latest)
        self.exports_endpoint = f"https://{self.data_account}.blob.core.windows.net"
        self.tables_endpoint = f"https://{self.data_account}.table.core.windows.net"
        self.register_outputs({"data_account_id": self.data_account_id})

    def _connect(
        self, name: str, account_id: pulumi.Input[str], service: PrivateService, turns: Turns
    ) -> None:
        if self._args.network is not None:
            target = PrivateTarget(name, pulumi.Output.from_input(account_id), service)
            self._args.network.connect(target, turns)

    def _own_data(self) -> pulumi.Resource:
        """Makes the account of licenses and keys, and its tables; returns the last resource."""
        args, place = self._args, self._args.placement
        self.data_account = place.names.storage_account("data")
        data = storage.StorageAccount(
            "data-storage", _account(args, self.data_account, args.replication), opts=place.kept(self)
        )
        turns = Turns(data)
        self._connect("licenses-table", data.id, "table", turns)
        self._connect("exports-blob", data.id, "blob", turns)
        blobs = turns.take(
            storage.BlobServiceProperties(
                "data-blobs",
                _blobs(place, data.name, keep_versions=True),
                opts=turns.options(under(self)),
            )
        )
        self.exports_id = make_exports(self, place, data.name, turns)
        self.table_ids = {table: self._table(table, place, data, turns).id for table in TABLES}
        self.data_account_id = data.id
        self.data_blobs_ids = (blobs.id,)
        return turns.latest

    def _share(self, primary_id: str, turns: Turns) -> None:
        """Uses the first region's account, through an endpoint of this network's own."""
        self.data_account = primary_id.rsplit("/", 1)[-1]
        self.data_account_id = pulumi.Output.from_input(primary_id)
        self._connect("licenses-table", primary_id, "table", turns)
        self._connect("exports-blob", primary_id, "blob", turns)
        self.exports_id = pulumi.Output.from_input(f"{primary_id}/blobServices/default/containers/{EXPORTS}")
        self.table_ids = {
            table: pulumi.Output.from_input(f"{primary_id}/tableServices/default/tables/{table}")
            for table in TABLES
        }

    def _table(
        self, table: str, place: Placement, account: storage.StorageAccount, turns: Turns
    ) -> storage.Table:
        return turns.take(
            storage.Table(
                f"table-{table}",
                storage.TableArgs(
                    table_name=table,
                    account_name=account.name,
                    resource_group_name=place.resource_group_name,
                ),
                opts=turns.options(place.kept(self)),
            )
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
        public_network_access="Disabled" if args.network else "Enabled",
        network_rule_set=storage.NetworkRuleSetArgs(
            default_action=storage.DefaultAction.DENY if args.network else storage.DefaultAction.ALLOW,
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
