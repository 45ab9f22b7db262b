"""Decides what stands out in an account's use of its keys. Nothing is blocked by it: an operator judges.

An address is kept as a keyed hash that changes every day, so that it tells how many addresses used a key on
one day, and neither which they were nor whether they came again.
"""

import hashlib
import hmac
from datetime import date
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Literal

import msgspec

# Of each key and day in one process; more say nothing new.
MAX_ADDRESSES = 64
# Of an IPv6 address, the network that one household or server gets.
IPV6_PREFIX = 64
_PURPOSE = b"signal-cloud misuse "

# How a bot fought over a place: it found the place taken, took it over, or replaced its own live session.
Fight = Literal["refused", "taken_over", "replaced"]


class Thresholds(msgspec.Struct, frozen=True):
    """From these figures on, something stands out.

    A bot moves between a few addresses a day, restarts a few times, and is within its limits most of the
    time.
    """

    addresses_per_key: int = 6
    session_fights: int = 30
    limited_hours: int = 12
    limited_percent: int = 20
    suspicious_trades: int = 5


THRESHOLDS = Thresholds()


class UseFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's keys did; of its worst day, except `limited_percent` and `suspicious_trades`.

    `addresses_per_key` is the most addresses of one key on one day. `session_fights` are refused claims of a
    place and places taken over. `limited_hours` are hours with requests beyond the limit, `limited_percent`
    the share of these requests among all that the counting processes saw.
    """

    addresses_per_key: int
    session_fights: int
    limited_hours: int
    limited_percent: int
    suspicious_trades: int


def outstanding(figures: UseFigures, thresholds: Thresholds = THRESHOLDS) -> list[str]:
    """The names of the figures that reach their threshold."""
    return [
        name for name in Thresholds.__struct_fields__ if getattr(figures, name) >= getattr(thresholds, name)
    ]


def hashed_address(address: IPv4Address | IPv6Address, day: date, secret: bytes) -> bytes:
    """A keyed hash of the address, or of an IPv6 address's network, which differs every day; 8 bytes."""
    named = str(ip_network((address, IPV6_PREFIX), strict=False) if address.version == 6 else address)
    key = hmac.digest(secret, _PURPOSE + day.isoformat().encode(), "sha256")
    return hmac.digest(key, named.encode(), hashlib.sha256)[:8]
