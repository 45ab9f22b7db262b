"""Reads the address that a request came from out of the headers that only the platform can write."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

IPAddress = IPv4Address | IPv6Address

# No address with a port is longer.
_MAX_LENGTH = 64


def client_address(headers: Mapping[str, str], front_door_id: str = "") -> IPAddress | None:
    """The address of the client's connection; None if the platform named none that can be read.

    Each proxy appends the address that called it to `x-forwarded-for`, behind whatever the caller wrote
    there, so only the last entry counts: App Service writes it. Behind Front Door that is Front Door's own
    address; then `x-azure-socketip` counts, which Front Door overwrites. A request proves that it passed our
    Front Door by its id, and `front_door_id` is empty if the stack has none: without that, a caller could
    write both headers. `x-azure-clientip` never counts, because it repeats what the caller claims.
    """
    if front_door_id and headers.get("x-azure-fdid") == front_door_id:
        return _address(headers.get("x-azure-socketip", ""))
    return _address(headers.get("x-forwarded-for", "").rpartition(",")[2])


def _address(text: str) -> IPAddress | None:
    """The address in `text`, which App Service writes with a port: 203.0.113.7:4711 or [2001:db8::1]:4711."""
    host = text.strip()[:_MAX_LENGTH]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
