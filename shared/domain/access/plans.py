"""Lists the plans: the limits that a license takes from its plan's name."""

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one license; `connections` is the number of sockets that it may have open at once."""

    connections: int


STANDARD = Plan(connections=10)
PLANS = {
    "standard": STANDARD,
    # For load tests, which open many sockets with one license.
    "load": Plan(connections=10_000),
}


def plan_of(name: str) -> Plan:
    """The plan of that name; an unknown name gets the standard limits."""
    return PLANS.get(name, STANDARD)
