"""The data and the parameters with which the plans of the queries about licenses and accounts are shown."""

from datetime import UTC, datetime
from typing import Any

import msgspec

_AT = datetime(2026, 3, 2, tzinfo=UTC)
_ROW = {
    "license_id": "lic_7",
    "revision": 2,
    "account_id": "account-7",
    "plan": "standard",
    "status": "active",
    "created_at": _AT,
    "search": "",
    "document": {},
}
_ROWS = {"rows": msgspec.json.encode([_ROW]).decode()}
_ACCOUNT: dict[str, Any] = {
    "account_id": "account-7",
    "pseudonym": "erased-7",
    "license_ids": ["lic_7"],
    "subjects": ["account-7", "lic_7"],
    "limit": 5_000,
    "now": _AT,
}
FILL = """
insert into license_list (
    license_id, revision, account_id, plan, status, created_at, expires_at, search, document
)
select
    'lic_' || n, 1, 'account-' || n, 'standard', 'active', now(), now() + n * interval '1 hour', '', '{}'
from generate_series(1, 20000) as n;
insert into audit (actor, action, subject, detail)
select 'tester', 'license created', 'lic_' || n, '{}' from generate_series(1, 50000) as n;
insert into erasures (pseudonym, account_id, requested_at) values ('erased-7', 'account-7', now());
"""
ASKED: dict[str, dict[str, Any]] = {
    "license_list.insert": _ROWS,
    "license_list.lock": {"license_ids": ["lic_7"]},
    "license_list.replace": _ROWS,
    "license_list.revisions": {"license_ids": ["lic_7"]},
    "license_list.warn": {"now": datetime.now(UTC), "limit": 500},
    **{
        f"accounts.{name}": _ACCOUNT
        for name in (
            "begin_erasure", "finish_erasure", "erasures_under_way", "span_of_trades", "export_trade_ids",
            "export_trade_days", "export_trade_day_figures", "export_account_usage", "export_signals",
            "export_suspicious_trades", "export_connections", "export_claims_used", "export_erasures",
            "export_audit",
            "erase_trades", "erase_trade_ids", "erase_trade_days", "erase_trade_day_figures",
            "export_payment_events", "export_notifications", "export_destinations",
            "export_hooks", "export_misuse_days", "export_misuse_addresses", "erase_misuse_days",
            "erase_misuse_addresses", "erase_payment_events", "erase_notifications", "erase_destinations",
            "erase_hooks", "erase_account_usage", "erase_suspicious_trades", "erase_signals",
        )
    },
    "accounts.export_trades": _ACCOUNT | {"since": _AT, "until": _AT},
}  # fmt: skip
JOBS = {name for name in ASKED if name.startswith(("accounts.erase", "accounts.finish"))}
NOT_EXPLAINED = {
    "license_list.of_discord_user": "reads the list as a whole when a role at Discord may change",
    "license_list.page": "reads the list as a whole, of some ten thousand rows, for operators",
    "accounts.export_license_list": "reads the list of licenses as a whole, once an export",
    "accounts.erase_audit": "reads no table itself; the function looks subjects up by audit_subject",
}
SMALL_TABLES = {"erasures"}
