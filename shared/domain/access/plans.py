"""Lists the plans: the limits that a license takes from its plan's name."""

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one plan.

    `connections` is the number of sockets that a license may have open at once. The others are of an account:
    new trades a UTC day, and everything that it has stored. `stored_bytes` counts the rows of trades as
    Postgres holds them, without indexes.
    """

    connections: int
    trades_per_day: int
    stored_trades: int
    stored_bytes: int


STANDARD = "standard"
PLANS = {
    # A bot that trades each minute of a day reports 1,440 trades. 5,000 trades are about 2 MB, and 2 million
    # are 400 days of that.
    STANDARD: Plan(connections=10, trades_per_day=5_000, stored_trades=2_000_000, stored_bytes=2 * 1024**3),
    # For load tests and benchmarks, which open many sockets with one license.
    "load": Plan(connections=10_000, trades_per_day=10**9, stored_trades=10**9, stored_bytes=1024**4),
}


def plan_of(name: str) -> Plan:
    """The plan of that name; an unknown name gets the standard limits."""
    return PLANS.get(name, PLANS[STANDARD])
