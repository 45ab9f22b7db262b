"""The data and the parameters with which the plans of queries about claim links and test keys are shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

USED = 20_000
BASE = datetime(2025, 9, 1, tzinfo=UTC)

FILL = f"""
insert into claims_used (license_id, purpose, issued_at, used_at)
select 'lic_' || n, 'first_key', at, at
from generate_series(1, {USED}) as n,
    lateral (select '{BASE}'::timestamptz + n * interval '60 seconds' as at);
insert into suspicious_trades
select 'account-' || n, 'trade-' || n, 'entry_time', 'ES', 1, '{BASE}', 1, '{BASE}'
from generate_series(1, {USED}) as n
on conflict do nothing;
"""
CLAIM = {"license_id": "lic_7", "purpose": "first_key", "issued_at": BASE}
TEST_ACCOUNT = {"account_id": "sc-test-7"}
ASKED: dict[str, dict[str, Any]] = {
    "claims.use": CLAIM,
    "claims.used_at": CLAIM,
    "claims.licenses_of_mail": {"email": "me7@example.com", "limit": 10},
    "upkeep.prune_claims": {"before": BASE + timedelta(hours=1), "limit": 100},
    "upkeep.prune_symbol_signals": {"symbol": "NQ", "before": BASE + timedelta(days=1), "limit": 100},
    "test_licenses.remove_trades": TEST_ACCOUNT,
    "test_licenses.remove_trade_ids": TEST_ACCOUNT,
    "test_licenses.remove_days": TEST_ACCOUNT,
    "test_licenses.remove_figures": TEST_ACCOUNT,
    "test_licenses.remove_usage": TEST_ACCOUNT,
    "test_licenses.remove_suspicions": TEST_ACCOUNT,
    "test_licenses.remove_misuse": TEST_ACCOUNT,
    "test_licenses.remove_addresses": TEST_ACCOUNT,
    "test_licenses.remove_listed": TEST_ACCOUNT | {"license_id": "lic_7"},
}
JOBS = {name for name in ASKED if name.startswith("test_licenses.")}
NOT_EXPLAINED: dict[str, str] = {}
SMALL_TABLES: set[str] = set()
