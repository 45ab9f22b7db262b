"""Makes two storage accounts: one for licenses and keys, and one for the function host."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage

from infra.components.exports import make_exports
from infra.components.network import Network, PrivateTarget
from infra.components.placement import Placement, Turns, under

# The names that shared/adapters/table_rows.py uses.
TABLES = ("licenses", "apikeys", "endings")
DEPLOYMENTS = "deployments"
SOFT_DELETE_DAYS = 14


@dataclass(frozen=True, slots=True)
class StorageArgs:
    """`deployments` is whether the host's account holds packages, as Flex Consumption needs."""

    placement: Placement
    replication: str
    network: Network | None
    deployments: bool


class Storage(pulumi.ComponentResource):
    """Two accounts, so that the function host's role over its own account covers no license."""

    def __init__(self, name: str, args: StorageArgs) -> None:
        super().__init__("signal-cloud:infra:Storage", name)
        place = args.placement
        self.data_account = place.names.storage_account("data")
        self.host_account = place.names.storage_account("host")
        data = storage.StorageAccount(
            "data-storage", _account(args, self.data_account, args.replication), opts=place.kept(self)
        )
        # A deployment makes packages and timer states again, but no host runs without them, so they survive
        # the loss of a zone if the data does.
        zonal = "Standard_ZRS" if "ZRS" in args.replication else "Standard_LRS"
        host = storage.StorageAccount(
            "host-storage", _account(args, self.host_account, zonal), opts=place.kept(self)
        )
        # An account accepts one change at a time.
        of_data, of_host = Turns(data), Turns(host)
        if args.network is not None:
            args.network.connect(PrivateTarget("licenses-table", data.id, "table"), of_data)
            args.network.connect(PrivateTarget("exports-blob", data.id, "blob"), of_data)
            args.network.connect(PrivateTarget("host-blob", host.id, "blob"), of_host)
            args.network.connect(PrivateTarget("host-queue", host.id, "queue"), of_host)
            args.network.connect(PrivateTarget("host-table", host.id, "table"), of_host)
        data_blobs = of_data.take(
            storage.BlobServiceProperties(
                "data-blobs",
                _blobs(place, data.name, keep_versions=True),
                opts=of_data.options(under(self)),
            )
        )
        # No versions here, because the host rewrites the states of its timers every few seconds.
        host_blobs = of_host.take(
            storage.BlobServiceProperties(
                "host-blobs",
                _blobs(place, host.name, keep_versions=False),
                opts=of_host.options(under(self)),
            )
        )
        self.exports_id = make_exports(self, place, data.name, of_data)
        self.table_ids = {table: self._table(table, place, data, of_data).id for table in TABLES}
        if args.deployments:
            of_host.take(
                storage.BlobContainer(
                    DEPLOYMENTS,
                    storage.BlobContainerArgs(
                        container_name=DEPLOYMENTS,
                        account_name=host.name,
                        resource_group_name=place.resource_group_name,
                        public_access=storage.PublicAccess.NONE,
                    ),
                    opts=of_host.options(under(self)),
                )
            )
        self.ready = (of_data.latest, of_host.latest)
        self.data_account_id = data.id
        self.host_account_id = host.id
        self.data_blobs_id, self.host_blobs_id = data_blobs.id, host_blobs.id
        self.exports_endpoint = f"https://{self.data_account}.blob.core.windows.net"
        self.tables_endpoint = f"https://{self.data_account}.table.core.windows.net"
        self.deployments_url = f"https://{self.host_account}.blob.core.windows.net/{DEPLOYMENTS}"
        self.register_outputs({"data_account_id": self.data_account_id})

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
