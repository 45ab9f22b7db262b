"""Makes the Postgres server with its parameters, administrator and database; only Entra ID opens it."""

import ipaddress
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import dbforpostgresql as postgres

from infra.components.network import Network, PrivateTarget
from infra.components.placement import Placement, Turns, under
from infra.settings.model import PostgresSettings

# The schema needs functions of this version, such as uuidv7().
VERSION = "18"
DATABASE = "signal_cloud"
SERVER_PORT = 5432
PGBOUNCER_PORT = 6432

# Saturday, 08:00 UTC: CME is closed from Friday 17:00 to Sunday 18:00 New York time, summer and winter.
MAINTENANCE_DAY = 6
MAINTENANCE_HOUR_UTC = 8

# Only what differs from Azure's defaults, because each change takes a minute and Azure refuses some of those
# that change nothing. AZURE_DEFAULTS in tests/infra/components/test_postgres.py has these, with their source.
PARAMETERS = {
    # Log slow statements and waits for locks.
    "log_min_duration_statement": "500",  # ms
    "log_lock_waits": "on",
    "track_io_timing": "on",
    # Random reads are cheap on solid-state storage.
    "random_page_cost": "1.1",
    # Rows of the outbox and of bars change all day: vacuum earlier than at the default of 20% of a table.
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.02",
    # Bounds how long a lost client holds locks. The app's own transactions end after 30 s.
    "idle_in_transaction_session_timeout": "60000",  # ms
}
# Burstable servers do not have these. PgBouncer is first, because its parameters exist once it is enabled.
LARGER_SERVER_PARAMETERS = {
    "pgbouncer.enabled": "true",
    # Prepared statements survive a change of server connection.
    "pgbouncer.max_prepared_statements": "500",
    "pgbouncer.query_wait_timeout": "10",  # s; the longest that a request waits for a connection
    "metrics.collector_database_activity": "on",
    "metrics.autovacuum_diagnostics": "on",
    "metrics.pgbouncer_diagnostics": "on",
}


@dataclass(frozen=True, slots=True)
class PostgresArgs:
    """`network` is None if the server has a public address; `deployers` reach that too, in CIDR form.

    `primary_id` is the server of the first region that this one is made as a replica of, or empty.
    """

    placement: Placement
    settings: PostgresSettings
    network: Network | None
    deployers: tuple[str, ...]
    tenant_id: pulumi.Output[str]
    primary_id: str = ""


class Postgres(pulumi.ComponentResource):
    """The server. The administrator makes the app's login, which is no Azure resource: see README.md.

    Administrators, logins and databases of a replica are those of its primary, which replicate. Parameters do
    not, so a replica gets its own; PgBouncer is one of them. What the program says of the server is the same
    before and after a promotion, so that no update touches it then.
    """

    def __init__(self, name: str, args: PostgresArgs) -> None:
        super().__init__("signal-cloud:infra:Postgres", name)
        place, settings = args.placement, args.settings
        self.server_name = place.names.unique("psql")
        self.host = f"{self.server_name}.postgres.database.azure.com"
        self.port = PGBOUNCER_PORT if settings.has_pgbouncer else SERVER_PORT
        server = postgres.Server(
            "postgres",
            _server_args(args, self.server_name),
            opts=pulumi.ResourceOptions.merge(
                place.kept(self),
                # How the server was made is over: Azure forgets its source when it is promoted.
                pulumi.ResourceOptions(ignore_changes=["createMode", "sourceServerResourceId"]),
            )
            if args.primary_id
            else place.kept(self),
        )
        self.server_id = server.id
        # The server accepts one change at a time.
        turns = Turns(server)
        if args.network is not None:
            args.network.connect(PrivateTarget("postgres", server.id, "postgres"), turns)
        if not args.primary_id:
            # Before the database, which otherwise belongs to Azure's own role.
            turns.take(self._administrator(args, server, turns))
        self._set_parameters(args, server, turns)
        if args.network is None:
            self._open(args, server, turns)
        made_last = self._switchover if args.primary_id else self._database
        self.ready: pulumi.Resource = turns.take(made_last(args, server, turns))
        self.register_outputs({"server_id": self.server_id})

    def _part_of(self, server: postgres.Server) -> pulumi.ResourceOptions:
        """Options of what ends with the server: Pulumi would set back each parameter, a minute each.

        So a server that is kept when its stack is destroyed keeps its administrator and parameters too.
        """
        return pulumi.ResourceOptions(parent=self, deleted_with=server)

    def _administrator(
        self, args: PostgresArgs, server: postgres.Server, turns: Turns
    ) -> postgres.AdministratorsMicrosoftEntra:
        settings = args.settings
        return postgres.AdministratorsMicrosoftEntra(
            "postgres-administrator",
            postgres.AdministratorsMicrosoftEntraArgs(
                server_name=server.name,
                resource_group_name=args.placement.resource_group_name,
                object_id=settings.admin_object_id,
                principal_name=settings.admin_name,
                principal_type=settings.admin_type,
                tenant_id=args.tenant_id,
            ),
            opts=turns.options(self._part_of(server)),
        )

    def _database(self, args: PostgresArgs, server: postgres.Server, turns: Turns) -> postgres.Database:
        return postgres.Database(
            "database",
            postgres.DatabaseArgs(
                server_name=server.name,
                resource_group_name=args.placement.resource_group_name,
                database_name=DATABASE,
                charset="UTF8",
                collation="en_US.utf8",
            ),
            opts=turns.options(args.placement.kept(self)),
        )

    def _switchover(
        self, args: PostgresArgs, server: postgres.Server, turns: Turns
    ) -> postgres.VirtualEndpoint:
        """Makes the virtual endpoint of both servers, without which Azure refuses to swap their roles.

        The app uses the server's own name. But only a swap brings the former primary back as a replica; a
        replica that becomes independent leaves two databases that accept writes.
        """
        *_, group, _, _, _, primary = args.primary_id.split("/")
        return postgres.VirtualEndpoint(
            "postgres-switchover",
            postgres.VirtualEndpointArgs(
                virtual_endpoint_name=args.placement.names.unique("pgve"),
                server_name=primary,
                resource_group_name=group,
                endpoint_type="ReadWrite",
                members=[server.name],
            ),
            opts=turns.options(under(self)),
        )

    def _set_parameters(self, args: PostgresArgs, server: postgres.Server, turns: Turns) -> None:
        parameters = PARAMETERS | (LARGER_SERVER_PARAMETERS if args.settings.has_pgbouncer else {})
        for parameter, value in parameters.items():
            turns.take(
                postgres.Configuration(
                    f"postgres-{parameter}",
                    postgres.ConfigurationArgs(
                        server_name=server.name,
                        resource_group_name=args.placement.resource_group_name,
                        configuration_name=parameter,
                        value=value,
                        source="user-override",
                    ),
                    opts=turns.options(self._part_of(server)),
                )
            )

    def _open(self, args: PostgresArgs, server: postgres.Server, turns: Turns) -> None:
        """Opens the server to Azure's addresses and to machines that deploy; only Entra ID protects it."""
        # Azure reads this range as "any address within Azure".
        ranges = {"azure-services": ("0.0.0.0", "0.0.0.0")}  # noqa: S104 - no socket is bound
        for index, deployer in enumerate(args.deployers):
            addresses = ipaddress.IPv4Network(deployer)
            ranges[f"deployer-{index}"] = (str(addresses[0]), str(addresses[-1]))
        for name, (first, last) in ranges.items():
            turns.take(
                postgres.FirewallRule(
                    f"postgres-from-{name}",
                    postgres.FirewallRuleArgs(
                        firewall_rule_name=name,
                        server_name=server.name,
                        resource_group_name=args.placement.resource_group_name,
                        start_ip_address=first,
                        end_ip_address=last,
                    ),
                    opts=turns.options(self._part_of(server)),
                )
            )

    def url(self, login: str) -> str:
        """The address for `login`, without a password: the app sends a token of Entra ID as its password."""
        return (
            f"postgresql://{login}@{self.host}:{self.port}/{DATABASE}?sslmode=verify-full&sslrootcert=system"
        )


def _server_args(args: PostgresArgs, server_name: str) -> postgres.ServerArgs:
    place, settings = args.placement, args.settings
    server = postgres.ServerArgs(
        server_name=server_name,
        resource_group_name=place.resource_group_name,
        location=place.location,
        sku=postgres.SkuArgs(name=settings.sku, tier=settings.tier),
        storage=postgres.StorageArgs(storage_size_gb=settings.storage_gb, auto_grow="Enabled"),
        auth_config=postgres.AuthConfigArgs(
            active_directory_auth="Enabled",
            password_auth="Disabled",  # noqa: S106 - no password but the refusal of one
            tenant_id=args.tenant_id,
        ),
        network=postgres.NetworkArgs(public_network_access="Disabled" if args.network else "Enabled"),
        tags=place.tags,
    )
    if args.primary_id:
        # A replica has the primary's version, and Azure refuses it a standby and backups of its own. It also
        # fails to make one with a window of maintenance (azure-postgresql #109), which the failover sets.
        server.create_mode = "Replica"
        server.source_server_resource_id = args.primary_id
        return server
    server.create_mode = "Create"
    server.version = VERSION
    server.maintenance_window = postgres.MaintenanceWindowArgs(
        custom_window="Enabled",
        day_of_week=MAINTENANCE_DAY,
        start_hour=MAINTENANCE_HOUR_UTC,
        start_minute=0,
    )
    # No fixed zones, because an update after a failover would move primary and standby back.
    server.high_availability = postgres.HighAvailabilityArgs(
        mode="ZoneRedundant" if settings.high_availability else "Disabled"
    )
    server.backup = postgres.BackupArgs(
        backup_retention_days=settings.backup_days,
        geo_redundant_backup="Enabled" if settings.geo_backup else "Disabled",
    )
    return server
