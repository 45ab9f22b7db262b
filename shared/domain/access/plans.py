"""Names the plans of licenses, and what each lets an account store."""

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of an account under one plan: new trades a UTC day, and everything that it has stored.

    `stored_bytes` counts the rows of trades as Postgres holds them, without indexes.
    """

    trades_per_day: int
    stored_trades: int
    stored_bytes: int


STANDARD = "standard"
PLANS = {
    # A bot that trades each minute of a day reports 1,440 trades. 5,000 trades are about 2 MB, and 2 million
    # are 400 days of that.
    STANDARD: Plan(trades_per_day=5_000, stored_trades=2_000_000, stored_bytes=2 * 1024**3),
    # For load tests and benchmarks.
    "load": Plan(trades_per_day=10**9, stored_trades=10**9, stored_bytes=1024**4),
}


def plan_of(name: str) -> Plan:
    """The plan of this name; an unknown name gets the standard plan."""
    return PLANS.get(name, PLANS[STANDARD])
