"""Describes hooks: addresses that take a publisher's alerts, each with its own secret and its own mapping.

A hook's secret is a key of its license, `sch_...`, with the one scope `hook`. So it is hashed, limited,
rotated and ended as keys are, and opens nothing but its hook.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated

import msgspec

from shared.domain.access.keys import RandomBytes, random_base62
from shared.domain.market.alert_mapping import MAPPING_NAME, AlertMapping
from shared.domain.market.bars import Symbol
from shared.domain.problems import Problems, shown

HOOK_ID_PATTERN = r"^hook_[0-9A-Za-z]{12}\Z"
MAX_HOOKS = 20  # of one license that have not ended
MAX_ADDRESSES = 64
STRATEGY_PATTERN = r"^[a-z][a-z0-9_]{0,63}\Z"
DEFAULT_STRATEGY = "manual"
# Wider networks limit nothing.
_MIN_PREFIX = {4: 8, 6: 16}
_LIST_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

Address = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
MappingChoice = Annotated[str, msgspec.Meta(pattern=MAPPING_NAME)] | AlertMapping


class HookRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hook to make. Its alerts become signals of `strategy`.

    `mapping` is the name of a file in shared/hooks, or a mapping of its own. `symbols` are those that it may
    signal, all of the license's if there are none. `addresses` are networks that alerts may come from, such
    as 203.0.113.0/24, or the name of a list, such as tradingview; without any, they may come from anywhere.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    mapping: MappingChoice = "tradingview"
    strategy: Annotated[str, msgspec.Meta(pattern=STRATEGY_PATTERN)] = DEFAULT_STRATEGY
    symbols: Annotated[list[Symbol], msgspec.Meta(max_length=100)] = []
    addresses: Annotated[list[Address], msgspec.Meta(max_length=MAX_ADDRESSES)] = []


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A hook as it is stored; `public_id` is that of its secret, `previous_public_id` of the one before.

    An ended hook takes no alerts.
    """

    hook_id: str
    account_id: str
    license_id: str
    public_id: str
    previous_public_id: str | None = None
    name: str
    mapping: str | AlertMapping
    strategy: str
    symbols: tuple[str, ...]
    addresses: tuple[str, ...]
    created_at: datetime
    rotated_at: datetime | None = None
    ended_at: datetime | None = None


def new_hook_id(rng: RandomBytes) -> str:
    return f"hook_{random_base62(12, rng)}"


def check_hook(
    request: HookRequest,
    mappings: Mapping[str, AlertMapping],
    lists: Mapping[str, Sequence[str]],
    problems: Problems,
) -> None:
    """Adds what makes a hook impossible: an unknown mapping, an ambiguous one, an address that is none."""
    if isinstance(request.mapping, str):
        if request.mapping not in mappings:
            known = ", ".join(sorted(mappings))
            problems.add("mapping", "unknown_value", f"Expected one of {known}, or an object.")
    else:
        for field, message in request.mapping.faults():
            problems.add(f"mapping.{field}", "out_of_range", message)
    for index, address in enumerate(request.addresses):
        fault = _address_fault(address, lists)
        if fault is not None:
            problems.add(f"addresses[{index}]", "invalid_format", fault)


def _address_fault(address: str, lists: Mapping[str, Sequence[str]]) -> str | None:
    if _LIST_NAME.fullmatch(address):
        return None if address in lists else f"Expected a network, or one of {', '.join(sorted(lists))}."
    try:
        network = ip_network(address)
    except ValueError:
        return f"Expected an address or a network such as 203.0.113.0/24, got {shown(address)}."
    least = _MIN_PREFIX[network.version]
    if network.prefixlen < least:
        return f"Expected a network of at least /{least}: {shown(address)} limits too little."
    return None


def may_come_from(
    address: IPv4Address | IPv6Address | None, addresses: Sequence[str], lists: Mapping[str, Sequence[str]]
) -> bool:
    """Whether a hook with these `addresses` takes alerts from `address`.

    A list that no longer exists allows nothing.
    """
    if not addresses:
        return True
    if address is None:
        return False
    networks = [each for name in addresses for each in lists.get(name, () if _is_list(name) else (name,))]
    return any(address in ip_network(network) for network in networks)


def _is_list(name: str) -> bool:
    try:
        ip_address(name.partition("/")[0])
    except ValueError:
        return True
    return False
