"""The data and the parameters with which the plans of the queries about hooks and delays are shown."""

from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

_NOW = datetime(2025, 12, 1, tzinfo=UTC)
_HOOK = {
    "hook_id": "hook_000000000077",
    "public_id": "000077",
    "license_id": "lic_7",
    "account_id": "account-7",
}

FILL = """
insert into hooks (
    hook_id, account_id, license_id, public_id, previous_public_id, name, mapping, strategy, symbols,
    addresses, created_at
)
select
    'hook_' || lpad(n::text, 12, '0'), 'account-' || n % 4000, 'lic_' || n % 4000, lpad(n::text, 6, '0'),
    case when n % 10 = 0 then lpad((n + 500000)::text, 6, '0') end, 'chart', '"tradingview"', 'manual', '{}',
    '{}', now()
from generate_series(1, 20000) as n;
insert into signal_delays (delay_s) values (900), (3600);
insert into delayed_feeds values (900, 'ES', 99000), (3600, 'ES', 98000);
"""
ASKED: dict[str, dict[str, Any]] = {
    "hooks.count_hooks": _HOOK,
    "hooks.add_hook": _HOOK
    | {
        "hook_id": "hook_new000000000"[:17],
        "public_id": "newnew",
        "name": "chart",
        "mapping": Jsonb("tradingview"),
        "strategy": "manual",
        "symbols": ["ES"],
        "addresses": [],
        "created_at": _NOW,
    },
    "hooks.hook_of_secret": _HOOK,
    "hooks.hook": _HOOK,
    "hooks.hooks_of_account": _HOOK | {"limit": 1_000},
    "hooks.rotate_hook": _HOOK | {"former": "000077", "public_id": "newnew", "at": _NOW},
    "hooks.end_hook": _HOOK | {"at": _NOW},
    "delayed.visible_sequences": {"delay_s": 900, "symbols": None},
    "delayed.add_delay": {"delay_s": 60},
    "delayed.begin_feed": {"delay_s": 900, "symbol": "NQ", "last_sequence": 7},
    "delayed.delays": {},
    "delayed.due": {"delay_s": 900, "symbol": "ES", "visible": 100_000, "limit": 200},
    "delayed.note_sent": {"delay_s": 900, "symbol": "ES", "sequence": 99_001},
    "delayed.sent_sequences": {},
    "signals.last_of_publisher": {"symbol": "ES", "strategy": "vwap_bounce", "publisher": "account-7"},
}
JOBS: set[str] = set()
NOT_EXPLAINED: dict[str, str] = {
    "hooks.lock_license": "takes a lock, and reads no table",
    "hooks.as_operator": "sets a parameter, and reads no table",
    "delayed.try_lock_delay": "takes a lock, and reads no table",
}
SMALL_TABLES: set[str] = {"signal_delays", "delayed_feeds"}
