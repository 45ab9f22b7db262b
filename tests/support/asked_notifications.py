"""The data and the parameters with which the plans of the queries about notifications are shown."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

BASE = datetime(2025, 9, 1, tzinfo=UTC)
EVENTS, DESTINATIONS = 30_000, 5_000
NOW = BASE + timedelta(days=30)
LAST = UUID(int=2**128 - 1)

FILL = f"""
insert into notification_events (event_id, kind, at, account_id, shown, received_at, fanned_out_at)
select 'event-' || n, 'license_expiring', at, 'account-' || n % 4000, '{{}}', at,
    case when n < {EVENTS} - 20 then at end
from generate_series(1, {EVENTS}) as n,
    lateral (select '{BASE}'::timestamptz + n * interval '60 seconds' as at);
insert into notifications (notification_id, event_id, lane, account_id, state, next_try_at, created_at)
select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'event-' || n,
    'own:webhook_' || n % 4000, 'account-' || n % 4000,
    case when n > {EVENTS} - 40 then 'waiting' when n % 5000 = 0 then 'parked' else 'sent' end, at, at
from generate_series(1, {EVENTS}) as n,
    lateral (select '{BASE}'::timestamptz + n * interval '60 seconds' as at);
insert into notification_lanes (lane) select 'own:webhook_' || n from generate_series(1, 4000) as n;
insert into destinations (
    destination_id, account_id, license_id, kind, events, address, sealed, sealed_by, created_at
)
select 'webhook_' || n, 'account-' || n, 'lic_' || n, 'webhook',
    case when n % 500 = 0 then array['signal_published'] else array['license_expiring'] end, 'a', 'a',
    case when n % 1000 = 0 then 'former' else 'present' end, '{BASE}'
from generate_series(1, {DESTINATIONS}) as n;
"""
_ID = UUID("00000000-0000-7000-8000-000000000007")
_LIST: dict[str, Any] = {"before": LAST, "limit": 100}
ASKED: dict[str, dict[str, Any]] = {
    "notifications.add": {
        "event_ids": ["event-new"],
        "kinds": ["test"],
        "ats": [BASE],
        "account_ids": [None],
        "license_ids": [None],
        "shown": [Jsonb({})],
    },
    "notifications.new_events": {"limit": 50, "skipped": ["event-7"]},
    "notifications.subscribed": {"kind": "signal_published"},
    "notifications.subscribed_of_account": {"kind": "license_expiring", "account_id": "account-7"},
    "notifications.add_notifications": {
        "event_ids": ["event-7"],
        "lanes": ["mail:7"],
        "account_ids": [None],
        "ats": [BASE],
    },
    "notifications.note_fan_out": {"event_ids": ["event-7"]},
    "notifications.due": {"now": NOW, "limit": 100, "few": 4},
    "notifications.add_lanes": {"lanes": ["own:webhook_7", "vendor:webhook"]},
    "notifications.lock_lanes": {"lanes": ["own:webhook_7"], "now": NOW},
    "notifications.take": {"ids": [_ID], "until": NOW},
    "notifications.postpone": {"ids": [_ID], "ats": [NOW]},
    "notifications.pace_lanes": {"lanes": ["own:webhook_7"], "ready_ats": [NOW], "busy_untils": [NOW]},
    "notifications.note_result": {
        "notification_id": _ID,
        "tries": 1,
        "state": "sent",
        "next_try_at": NOW,
        "error": None,
        "unanswered": 0,
        "now": NOW,
    },
    "notifications.give_back": {"ids": [_ID], "at": NOW},
    "notifications.free_lane": {"lane": "own:webhook_7", "ready_at": NOW},
    "notifications.hold_lane": {"lane": "vendor:webhook", "ready_at": NOW},
    "notifications.listed": _LIST,
    "notifications.listed_of_state": _LIST | {"state": "parked"},
    "notifications.listed_of_lane": _LIST | {"lane": "own:webhook_7", "state": None},
    "notifications.retry": {"notification_id": _ID, "now": NOW},
    "notifications.state_of": {"notification_id": _ID},
    "notifications.parked": {"now": NOW},
    "notifications.own": {
        "account_id": "account-7",
        "after": UUID(int=0),
        "signals_until": NOW,
        "limit": 100,
    },
    "notifications.replay": {
        "account_id": "account-7",
        "lane": "own:webhook_7",
        "since": BASE,
        "now": NOW,
        "limit": 1_000,
    },
    "destinations.add": {
        "destination_id": "webhook_new",
        "account_id": "account-7",
        "license_id": "lic_7",
        "kind": "webhook",
        "events": ["signal_published"],
        "address": "a",
        "sealed": b"a",
        "sealed_by": "present",
        "created_at": BASE,
        "most": 10,
    },
    "destinations.list": {"account_id": "account-7"},
    "destinations.get": {"destination_id": "webhook_7"},
    "destinations.delete": {"destination_id": "webhook_7", "account_id": "account-7"},
    "destinations.seal": {
        "destination_id": "webhook_7",
        "sealed": b"b",
        "sealed_by": "present",
        "former": b"a",
    },
    "destinations.end": {"destination_id": "webhook_7", "because": "gone", "now": NOW},
    "destinations.sealed_by_others": {"sealed_by": "present", "limit": 100},
    "summaries.of_accounts": {
        "after": "account-7",
        "since": BASE + timedelta(days=3),
        "until": BASE + timedelta(days=4),
        "limit": 500,
    },
    **{
        f"accounts.{action}_{table}": {"account_id": "account-7", "limit": 1_000}
        for action in ("export", "erase")
        for table in ("destinations", "notifications", "notification_events")
    },
    "upkeep.prune_notifications": {"before": BASE + timedelta(days=1), "limit": 5_000},
}
JOBS = {
    *(name for name in ASKED if name.startswith("accounts.erase")),
    "notifications.new_events",
    "notifications.subscribed",
    "notifications.subscribed_of_account",
    "notifications.add_notifications",
    "notifications.note_fan_out",
    "notifications.due",
    "notifications.add_lanes",
    "notifications.lock_lanes",
    "notifications.take",
    "notifications.postpone",
    "notifications.pace_lanes",
    "notifications.note_result",
    "notifications.give_back",
    "notifications.free_lane",
    "notifications.hold_lane",
    "notifications.parked",
    "destinations.sealed_by_others",
    "destinations.end",
    "summaries.of_accounts",
}
NOT_EXPLAINED = {
    "notifications.lock_fan_out": "reads no table",
    "notifications.act_as_operator": "reads no table",
    "destinations.lock_account": "reads no table",
}
SMALL_TABLES: set[str] = set()
