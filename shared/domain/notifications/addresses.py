"""Decides which addresses of customers may be called: those that anybody on the internet can reach."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

MAX_URL = 1_024
PORTS = (443, 8443)
# Names alone: a number in any of its spellings is no name, and neither is one without a dot.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.?", re.IGNORECASE)

# What is_global calls global, but leads to machines of the network around us, or to any address at all.
_REFUSED_V4 = (
    IPv4Network("168.63.129.16/32"),  # Azure's own DNS, health and key service, on every machine there
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = (
    IPv6Network("2001::/23"),  # Teredo, ORCHID and other protocols
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4, which has an IPv4 address inside
    IPv6Network("3fff::/20"),  # documentation
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anybody on the internet can reach `address`.

    All forms of IPv6 that have an IPv4 address inside (mapped, NAT64, 6to4, Teredo) are refused, whatever
    that address is.
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in n for n in _REFUSED_V4)
    if address.scope_id is not None or address not in _GLOBAL_V6:
        return False
    return address.is_global and not any(address in network for network in _REFUSED_V6)


def url_fault(url: str) -> str | None:
    """What is wrong with a customer's `url`, as far as its text tells; None if nothing is."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return f"Expected an address of at most {MAX_URL} printable ASCII characters."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "Expected an address such as https://example.com/hook."
    if parts.scheme != "https" or "@" in parts.netloc or parts.fragment:
        return "Expected an https address without a user, a password or a fragment."
    if port is not None and port not in PORTS:
        return f"Expected the port {' or '.join(map(str, PORTS))}."
    is_name = "[" not in parts.netloc and _NAME.fullmatch(host) is not None
    if is_name or is_public_literal(host):
        return None
    return "Expected a host on the public internet, by its full name."


def is_public_literal(host: str) -> bool:
    try:
        return is_public(ip_address(host))
    except ValueError:
        return False


def is_below(url: str, base: str) -> bool:
    """Whether `url` is `base` or an address below it, by scheme, host, port and whole parts of its path."""
    try:
        ours, theirs = urlsplit(base), urlsplit(url)
        same = (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)
    except ValueError:
        return False
    path = ours.path.rstrip("/") + "/"
    return bool(base) and same and f"{theirs.path}/".startswith(path) and ".." not in theirs.path
