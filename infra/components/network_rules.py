"""Lists what may enter and leave each subnet of the private network."""

from collections.abc import Sequence

from pulumi_azure_native import network

# HTTPS, Postgres, PgBouncer, Managed Redis.
_SERVICE_PORTS = ("443", "5432", "6432", "10000")
# Within a Bastion, its parts speak to each other on these ports.
_BASTION_PORTS = ("8080", "5701")


type Rules = list[network.SecurityRuleArgs]


def endpoint_rules(sources: Sequence[str], endpoints: str) -> Rules:
    """The app and operations reach the services, and nobody else does."""
    return [
        network.SecurityRuleArgs(
            name="services",
            description="The app and operations reach the services",
            priority=100,
            direction="Inbound",
            access="Allow",
            protocol="Tcp",
            source_address_prefixes=list(sources),
            source_port_range="*",
            destination_address_prefix=endpoints,
            destination_port_ranges=list(_SERVICE_PORTS),
        ),
        _nothing_else("Inbound"),
    ]


def app_rules(app: str, endpoints: str, space: str) -> Rules:
    """Out: the services, its own instances, and the internet by Azure's default; nothing else in the network.

    The app sends to addresses that customers choose: mail, chats and webhooks. If its own check of them
    failed, they would still not reach the machine for operations.
    """
    return [
        _leaving("services", 100, endpoints, _SERVICE_PORTS, "Data and secrets"),
        _leaving("itself", 110, app, ("0-65535",), "Instances of the plan", "*"),
        _outbound("to-network", 4000, space, "Deny", "Nothing that a customer names is in the network"),
    ]


def operations_rules(endpoints: str, bastion: str | None) -> Rules:
    """In: SSH from the Bastion, if there is one. Out: the services, and the web.

    Port 80 is for Ubuntu's packages, which are signed. Azure's name servers and its agent need no rule.
    """
    entering = [_entering("ssh", 100, bastion, "22", "Logins through the Bastion")] if bastion else []
    return [
        *entering,
        _nothing_else("Inbound"),
        _leaving("services", 100, endpoints, _SERVICE_PORTS, "Migrations and licenses"),
        _leaving("web", 200, "Internet", ("80", "443"), "Azure, GitHub and packages"),
        _nothing_else("Outbound"),
    ]


def bastion_rules() -> Rules:
    """What Azure demands for the subnet of a Bastion: all of it, or the Bastion gets no updates."""
    return [
        _entering("clients", 100, "Internet", "443", "Clients, which sign in with Entra ID"),
        _entering("control", 110, "GatewayManager", "443", "Azure controls the Bastion"),
        _entering("health", 120, "AzureLoadBalancer", "443", "Azure probes the Bastion"),
        _between_parts("Inbound"),
        _nothing_else("Inbound"),
        _leaving("machines", 100, "VirtualNetwork", ("22", "3389"), "Logins to machines", "*"),
        _leaving("azure", 110, "AzureCloud", ("443",), "Logs and metrics of the Bastion"),
        _between_parts("Outbound"),
        _leaving("certificates", 140, "Internet", ("80",), "Checks of sessions and certificates", "*"),
        _nothing_else("Outbound"),
    ]


def _entering(name: str, priority: int, source: str, port: str, why: str) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name=name,
        description=why,
        priority=priority,
        direction="Inbound",
        access="Allow",
        protocol="Tcp",
        source_address_prefix=source,
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range=port,
    )


def _outbound(name: str, priority: int, destination: str, access: str, why: str) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name=name,
        description=why,
        priority=priority,
        direction="Outbound",
        access=access,
        protocol="*",
        source_address_prefix="*",
        source_port_range="*",
        destination_address_prefix=destination,
        destination_port_range="*",
    )


def _leaving(  # noqa: PLR0917 - the columns of a table
    name: str, priority: int, destination: str, ports: Sequence[str], why: str, protocol: str = "Tcp"
) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name=f"to-{name}",
        description=why,
        priority=priority,
        direction="Outbound",
        access="Allow",
        protocol=protocol,
        source_address_prefix="*",
        source_port_range="*",
        destination_address_prefix=destination,
        destination_port_ranges=list(ports),
    )


def _between_parts(direction: str) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name=f"parts-{direction.lower()}",
        description="The parts of the Bastion speak to each other",
        priority=130,
        direction=direction,
        access="Allow",
        protocol="*",
        source_address_prefix="VirtualNetwork",
        source_port_range="*",
        destination_address_prefix="VirtualNetwork",
        destination_port_ranges=list(_BASTION_PORTS),
    )


def _nothing_else(direction: str) -> network.SecurityRuleArgs:
    return network.SecurityRuleArgs(
        name="nothing-else" if direction == "Inbound" else "to-nothing-else",
        description="Azure's default rules would allow everything within the network and to the internet",
        priority=4000,
        direction=direction,
        access="Deny",
        protocol="*",
        source_address_prefix="*",
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range="*",
    )
