"""Describes how often public routes may be tried, and by whom."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

import msgspec

HOUR_S = 3600
DAY_S = 24 * HOUR_S
# One customer has a whole network of IPv6 addresses.
_CUSTOMER_NETWORK_BITS = 64


class TryLimit(msgspec.Struct, frozen=True):
    """At most `limit` tries in a window of `window_s` seconds, which the first try begins.

    `route` names what is tried, and `who` counts for itself: an address, a mail address, or everybody.
    """

    route: str
    who: str
    limit: int
    window_s: int = HOUR_S

    @property
    def what(self) -> str:
        """The name of its count."""
        return f"{self.route}:{self.who}"


def network_of(address: IPv4Address | IPv6Address | None) -> str:
    """Whose tries count together: those of an IPv4 address, of an IPv6 network, or of unknown callers."""
    if address is None:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _CUSTOMER_NETWORK_BITS), strict=False).network_address)
    return str(address)


def limits_of_claims(network: str) -> Sequence[TryLimit]:
    """Uses of claim links. Nobody guesses a token; the limit keeps guesses from costing us anything."""
    return (TryLimit("claims.use", network, 30),)


def limits_of_requests(network: str, mail_hash: str) -> Sequence[TryLimit]:
    """Requests for a claim link by mail, which must not fill a stranger's mailbox."""
    return (
        TryLimit("claims.request", network, 10),
        TryLimit("claims.request", f"mail.{mail_hash}", 3),
        TryLimit("claims.request.day", f"mail.{mail_hash}", 6, DAY_S),
    )


def limits_of_rotations(license_id: str) -> Sequence[TryLimit]:
    """Keys that a holder replaces.

    Each new key costs rows for good and a mail, and has a rate limit of its own, so that no other limit ends
    a chain of replacements.
    """
    return (
        TryLimit("license.rotate", license_id, 10),
        TryLimit("license.rotate.day", license_id, 50, DAY_S),
    )


def limits_of_test_keys(network: str) -> Sequence[TryLimit]:
    """New test keys, each of which costs rows and messages for its life."""
    return (
        TryLimit("test_keys", network, 5),
        TryLimit("test_keys.day", "everybody", 2_000, DAY_S),
    )
