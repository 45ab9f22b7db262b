"""The data and the parameters with which the plans of the queries about misuse are shown."""

from datetime import date
from typing import Any

from shared.services.misuse_counts import UseCounts

FILL = """
insert into misuse_days (
    account_id, day, requests, limited, limited_hours,
    sessions_refused, sessions_taken_over, sessions_replaced
)
select 'account-' || account, date '2026-01-01' + day, 100, 1, 1, 0, 0, 0
from generate_series(1, 500) as account, generate_series(1, 40) as day;
insert into misuse_addresses (account_id, day, public_id, address)
select 'account-' || account, date '2026-01-01' + day, 'Ab12Cd', decode(lpad(to_hex(account), 16, '0'), 'hex')
from generate_series(1, 500) as account, generate_series(1, 40) as day;
"""
DAY = date(2026, 1, 2)
ASKED: dict[str, dict[str, Any]] = {
    "misuse.add_counts": {
        "day": DAY,
        "accounts": ["account-7"],
        **{name: [1] for name in UseCounts.__struct_fields__},
    },
    "misuse.add_addresses": {
        "accounts": ["account-7"],
        "days": [DAY],
        "public_ids": ["Ab12Cd"],
        "addresses": [b"12345678"],
    },
    "upkeep.prune_misuse_days": {"before": DAY, "limit": 100},
    "upkeep.prune_misuse_addresses": {"before": DAY, "limit": 100},
}
JOBS: set[str] = set()
NOT_EXPLAINED = {"misuse.list": "reads the days that an operator asks for, of all accounts"}
SMALL_TABLES: set[str] = set()
