"""The data and the parameters with which the plans of the queries about payments are shown."""

from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

BASE = datetime(2025, 9, 1, tzinfo=UTC)
_NUMBER = {"payment_event_id": 40_000}
_PAGE: dict[str, Any] = {"before": 10**15, "limit": 100}

FILL = f"""
insert into payment_events (
    provider, event_id, type, kind, created_at, received_at, subject, account_id, links, payload, state
)
select
    'stripe', 'evt_' || n, 'invoice.paid', 'paid', at, at,
    case when n % 3 > 0 then 'stripe:sub_' || n % 2000 end, 'stripe-cus_' || n % 2000,
    array['in_' || n / 3], '{{}}',
    case when n % 1000 = 0 then 'received' when n % 999 = 0 then 'failed' when n % 20 = 0 then 'ignored'
        else 'applied' end
from generate_series(1, 60000) as n, lateral (select '{BASE}'::timestamptz + n * interval '60 seconds' as at);
"""
ASKED: dict[str, dict[str, Any]] = {
    "payments.add": {
        "provider": "stripe",
        "event_id": "evt_new",
        "type": "invoice.paid",
        "kind": "paid",
        "created_at": BASE,
        "now": BASE,
        "subject": "stripe:sub_1",
        "account_id": "stripe-cus_1",
        "links": ["in_1"],
        "payload": Jsonb({}),
        "state": "received",
        "outcome": "",
    },
    "payments.backlog": {},
    "payments.due": {"now": BASE.replace(year=BASE.year + 10), "limit": 100},
    "payments.subject_of": _NUMBER,
    "payments.related": {"subject": "stripe:sub_7", "limit": 5_001},
    "payments.event": _NUMBER,
    "payments.settle": {
        "payment_event_ids": [40_000, 40_001],
        "outcome": "done",
        "license_id": "lic_1",
        "account_id": "stripe-cus_1",
    },
    "payments.erase": {"payment_event_ids": [1, 2], "pseudonym": "erased-7"},
    "payments.put_off": _NUMBER | {"state": "received", "outcome": "waits", "until": BASE},
    "payments.run_again": _NUMBER | {"now": BASE},
    "payments.list": _PAGE,
    "payments.list_state": _PAGE | {"state": "failed"},
    "payments.list_subject": _PAGE | {"state": None, "subject": "stripe:sub_7"},
    "payments.show": _NUMBER,
    "payments.forget_ignored": {"before": BASE, "limit": 1_000},
}
JOBS = {
    *("payments.due", "payments.subject_of", "payments.related", "payments.event", "payments.settle"),
    *("payments.put_off", "payments.forget_ignored", "payments.erase"),
}
NOT_EXPLAINED = {"payments.lock": "reads no table"}
SMALL_TABLES: set[str] = set()
