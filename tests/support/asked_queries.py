"""The data and the parameters with which the plan of every query is shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from shared.adapters.postgres.training import MAX_FOLLOWERS, fit_parameters
from shared.adapters.postgres.upkeep import BATCH
from shared.domain.confidence.safeguards import MAX_ACCOUNT_TO_OTHERS
from shared.domain.market.outcomes import HORIZON
from shared.domain.market.repeats import REPEAT_WINDOW
from shared.domain.trading.signal_fit import FIT
from tests.support import (
    asked_claims,
    asked_hooks,
    asked_licenses,
    asked_misuse,
    asked_notifications,
    asked_payments,
)
from tests.support.samples import a_bar, a_trade
from tests.support.unasked_queries import JOBS, NOT_EXPLAINED

BASE = datetime(2025, 9, 1, tzinfo=UTC)
TRADES, ACCOUNTS, SIGNALS, BARS = 120_000, 40, 200_000, 100_000
DEEP = 80_000  # trades of one more account, 55 days of them

# One row a symbol, or a strategy and symbol, or a migration: a page of the disk, read as a whole.
SMALL_TABLES = {"signal_counters", "feeds", "engine_state", "schema_migrations"}

FILL = f"""
select make_trade_partitions(
    array['{BASE}'::timestamptz, '{BASE}'::timestamptz + '1 month', '{BASE}'::timestamptz + '2 month']
);
insert into trades (
    account_id, trade_id, key_public_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at,
    exit_at, pnl, fees, confidence, features
)
select
    'account-' || n % {ACCOUNTS}, 'trade-' || n, 'key', (array['ES', 'NQ', 'CL'])[n % 3 + 1], 'LONG',
    (array['vwap_bounce', 'capitulation_reversal'])[n % 2 + 1], 1, 6500, 6501, at, at, n % 50 - 20, 2, 0.6,
    case when n % 4 = 0 then '{{"rsi": 30}}'::jsonb end
from generate_series(1, {TRADES}) as n,
    lateral (select '{BASE}'::timestamptz + n * interval '60 seconds' as at);
insert into trades (
    account_id, trade_id, key_public_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at,
    exit_at, pnl, fees
)
select 'deep', 'deep-' || n, 'key', 'ES', 'LONG', 'vwap_bounce', 1, 6500, 6501, at, at, 1, 2
from generate_series(1, {DEEP}) as n,
    lateral (select '{BASE}'::timestamptz + n * interval '60 seconds' as at);
update trades set symbol = 'RARE'
where account_id = 'deep' and trade_id in ('deep-1', 'deep-{DEEP // 2}', 'deep-{DEEP}');
insert into trade_ids select account_id, trade_id, exit_at from trades;
insert into trade_days
select account_id, (exit_at at time zone 'UTC')::date, symbol, count(*), false, count(*)
from trades
group by 1, 2, 3;
update trade_days set counted = 0 where account_id = 'account-7' and day > '{BASE}'::date + 80;
insert into trade_day_figures
select
    account_id, day, symbol, trades, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, array_fill(0, array[10])
from trade_days;
insert into account_usage select 'account-' || n, 1, 1, '{BASE}', 0 from generate_series(1, 5000) as n;
insert into signals (
    symbol, sequence, strategy, strategy_version, kind, side, price, event_at, received_at, features, source,
    idempotency_key, publisher
)
select
    (array['ES', 'NQ'])[n % 2 + 1], n / 2 + 1, 'vwap_bounce', 1, 'entry', 'LONG', 6500, at, at, '{{}}',
    'live', 'key-' || n, 'account-' || n % {ACCOUNTS}
from generate_series(0, {SIGNALS}) as n,
    lateral (select '{BASE}'::timestamptz + n * interval '30 seconds' as at);
update trades set signal_sequence = 1 + (extract(epoch from exit_at) / 60)::bigint % 100000
where account_id <> 'deep';
insert into signal_outcomes (symbol, sequence, strategy, side, event_at, features, won)
select symbol, sequence, strategy, side, event_at, features, sequence % 2 = 0
from signals
where sequence <= 50000;
update signals set settled = true where sequence <= 50000;
insert into suspicious_trades
select 'account-' || n % 40, 'trade-' || n, 'entry_time', 'ES', n, at, 1, at
from generate_series(1, 50000) as n,
    lateral (select '{BASE}'::timestamptz + n * interval '60 seconds' as at);
insert into outbox (symbol, sequence, payload, created_at, sent_at)
select symbol, sequence, '{{}}', received_at, case when sequence < {SIGNALS // 2 - 20} then received_at end
from signals;
insert into bars
select 'ES', '{BASE}'::timestamptz + n * interval '1 minute', 1, 1, 1, 1, 1, 'live', now()
from generate_series(1, {BARS}) as n;
insert into bar_changes (symbol, open_time, open, high, low, close, volume, source, changed_at)
select 'ES', '{BASE}'::timestamptz + n * interval '1 minute', 1, 1, 1, 1, 1, 'live', now()
from generate_series(1, 50000) as n;
insert into models
select
    'v' || n, 'strategy-' || n % 50, 'retired', 'base_rate', null, '{{}}',
    '{BASE}'::timestamptz + n * interval '1 hour'
from generate_series(1, 5000) as n;
insert into published_strategies (strategy) select 'strategy-' || n from generate_series(1, 5000) as n;
insert into signal_counters values ('ES', 100001), ('NQ', 100001);
insert into feeds values ('ES', now(), now(), 'live');
insert into engine_state (symbol, strategy, last_change) values ('ES', 'vwap_bounce', 49990);
update bars set quarantined = true where extract(epoch from open_time)::bigint % 60000 = 0;
insert into connections (connection_id, license_id)
select 'connection-' || n, 'lic_' || n % 4000 from generate_series(1, 20000) as n;
insert into used_urls (nonce, connection_id, used_at)
select 'nonce-' || n, 'connection-' || n, now() - make_interval(secs => n)
from generate_series(1, 20000) as n;
"""

# What each query is asked; where it depends on size, the size that the code uses.
SINCE, UNTIL = BASE + timedelta(days=3), BASE + timedelta(days=75)
ACCOUNT = {"account_id": "account-7"}
NAMED = {**ACCOUNT, "trade_id": "trade-7"}
EXIT_OF_7 = BASE + timedelta(seconds=7 * 60)
REPORTED = msgspec.json.encode([a_trade("trade-7"), a_trade("trade-47")]).decode()
SAME = {**ACCOUNT, "trades": REPORTED, "from_month": BASE, "to_month": BASE + timedelta(days=61)}
DRAFT: dict[str, Any] = {
    "symbol": "ES",
    "strategy": "vwap_bounce",
    "strategy_version": 1,
    "kind": "entry",
    "side": "LONG",
    "price": 6500,
    "stop_price": None,
    "target_price": None,
    "event_at": BASE,
    "expires_at": None,
    "received_at": BASE,
    "features": Jsonb({}),
    "source": "live",
    "idempotency_key": "key-77",
    "publisher": "account-7",
    "default_times": ["expires_at"],
}
PAGE = {**ACCOUNT, "since": SINCE, "before_trade_id": "trade-60000", "limit": 100}
DAYS = {"days": [(BASE + timedelta(days=n)).date() for n in (81, 82)]}
ROLLED_UP = {
    **ACCOUNT,
    **DAYS,
    "starts": [BASE + timedelta(days=n) for n in (81, 82)],
    "ends": [BASE + timedelta(days=n) for n in (82, 83)],
    "whole": [True, True],
    "first_exit_at": BASE + timedelta(days=81),
    "last_exit_at": BASE + timedelta(days=83),
}
ALL_DAYS = {"first": BASE.date(), "last": (BASE + timedelta(days=90)).date()}
ASKED: dict[str, dict[str, Any]] = {
    "audit.write": {"note": "a", "action": "b", "subject": "c", "detail": Jsonb({})},
    "bars.store_bars": {
        "symbol": "ES",
        "bars": msgspec.json.encode(
            [msgspec.structs.asdict(a_bar(n)) | {"late": False} for n in range(100)]
        ).decode(),
        "replaced": msgspec.json.encode([msgspec.structs.asdict(a_bar(0)) | {"version": 1}]).decode(),
        "source": "live",
        "received_at": BASE,
    },
    "bars.lock_engine": {"symbol": "ES", "strategy": "vwap_bounce"},
    "bars.bars_after": {"symbol": "ES", "after": BASE + timedelta(days=30), "limit": 1_000},
    "bars.arrivals": {
        "symbol": "ES",
        "first": BASE + timedelta(days=30),
        "until": BASE + timedelta(days=30, hours=23),
    },
    "bars.is_unchanged": {"symbol": "ES", "last_change": 49_990},
    "bars.checkpoints": {"symbol": "ES", "strategy": "vwap_bounce"},
    "bars.published": {
        "symbol": "ES",
        "strategy": "vwap_bounce",
        "first": BASE + timedelta(days=30),
        "last": BASE + timedelta(days=30, hours=23),
    },
    "bars.mark_bars": {
        "symbol": "ES",
        "open_times": [BASE + timedelta(days=30, minutes=n) for n in range(3)],
        "quarantined": [True, False, True],
    },
    "bars.save_engine": {
        "symbol": "ES",
        "strategy": "vwap_bounce",
        "state": b"s",
        "last_open_time": BASE,
        "last_change": 7,
        "checkpoints": None,
    },
    "bars.coverage": {
        "symbols": ["ES"],
        "firsts": [BASE + timedelta(days=30)],
        "lasts": [BASE + timedelta(days=30, hours=23)],
    },
    "bars.newest_bars": {
        "symbols": ["ES", "ES"],
        "firsts": [BASE + timedelta(days=30), BASE + timedelta(days=29)],
        "lasts": [BASE + timedelta(days=30, hours=23), BASE + timedelta(days=29, hours=23)],
    },
    "bars.count_quarantined": {
        "symbol": "ES",
        "open_times": [BASE + timedelta(days=30, minutes=n) for n in range(1_000)],
    },
    "bars.feeds": {},
    "bars.behind": {"strategy": "vwap_bounce"},
    "models.champion": {"strategy": "strategy-7"},
    "models.list_models": {"strategy": "strategy-7", "limit": 200},
    "models.add_model": {
        "version": "new",
        "strategy": "s",
        "status": "candidate",
        "basis": "base_rate",
        "artefact": None,
        "document": Jsonb({}),
        "created_at": BASE,
    },
    "models.lock_strategy": {"version": "v77"},
    "models.retire_champion": {"version": "v77"},
    "models.crown": {"version": "v77"},
    "outbox.unsent": {"symbol": "ES", "limit": 100},
    "outbox.mark_sent": {"symbol": "ES", "sequence": SIGNALS // 2},
    "outbox.pending": {},
    "outbox.depth": {},
    "signals.repeated_key": DRAFT,
    "signals.repeated_alert": DRAFT | {"window": REPEAT_WINDOW},
    "signals.insert_signal": DRAFT,
    "signals.give_sequence_back": {"symbol": "ES"},
    "signals.queue_message": {"symbol": "ES", "sequence": 7, "payload": b"{}"},
    "signals.signal_of_key": {"symbol": "ES", "idempotency_key": "key-77"},
    "signals.published_strategies": {"strategies": ["strategy-7", "strategy-8"]},
    "signals.last_price": {
        "symbols": ["ES", "ES"],
        "firsts": [BASE + timedelta(days=30), BASE + timedelta(days=29)],
        "lasts": [BASE + timedelta(days=30, hours=23), BASE + timedelta(days=29, hours=23)],
    },
    "signals.list_signals": {"symbol": "ES", "after": 50_000, "limit": 1_000},
    "signals.last_sequences": {"symbols": ["ES"]},
    "signals.latency": {"since": BASE + timedelta(seconds=30 * SIGNALS) - timedelta(minutes=15)},
    "trades.record_trades": {**ACCOUNT, "key_public_id": "key", "trades": REPORTED},
    "trades.same_trades": SAME,
    "trades.usage": ACCOUNT,
    "trades.unused_trade_ids": {**ACCOUNT, "trade_ids": ["trade-7", "trade-47", "new"]},
    "trades.exit_of_trade": NAMED,
    "trades.withdraw_trade": {**NAMED, "exit_at": EXIT_OF_7, "received_from": BASE},
    "trades.receipt_of_trade": {**NAMED, "exit_at": EXIT_OF_7},
    "trades.count_trades": {
        **ACCOUNT,
        **DAYS,
        "symbols": ["ES", "ES"],
        "counts": [1, 2],
        "trades": 3,
        "bytes": 900,
        "counts_today": True,
    },
    "trades.days_of_page": {**ACCOUNT, "symbol": None, "before_day": UNTIL.date(), "limit": 101},
    "trades.page_of_trades": {**PAGE, "before_exit_at": BASE + timedelta(days=41)},
    "trades.page_of_symbol": {**PAGE, "symbol": "RARE", "before_exit_at": BASE + timedelta(days=41)},
    "performance.stale_days": {**ACCOUNT, **ALL_DAYS, "limit": 50_000},
    "performance.mark_fresh": {**ACCOUNT, **DAYS},
    "performance.roll_up": ROLLED_UP,
    "performance.performance": {**ACCOUNT, **ALL_DAYS, "symbol": None, "parts": "[]"},
    "training.signals_to_settle": {
        "strategy": "vwap_bounce",
        "before": BASE + timedelta(seconds=30 * SIGNALS),
        "overdue": BASE,
        "horizon": HORIZON,
        "last_bar": HORIZON - timedelta(minutes=1),
        "after_event_at": BASE + timedelta(days=30),
        "after_symbol": "ES",
        "after_sequence": 7,
        "limit": 200,
    },
    "training.settle": {
        "decided": msgspec.json.encode(
            [{"symbol": "ES", "sequence": n, "won": True} for n in range(200)]
        ).decode()
    },
    "training.outcomes": {
        "strategy": "vwap_bounce",
        "before": UNTIL,
        "horizon": HORIZON,
        "limit": 5_000,
    },
    "training.reported": {
        "strategy": "vwap_bounce",
        "before": UNTIL,
        "share": MAX_ACCOUNT_TO_OTHERS,
        "limit": 200,
        "followers": MAX_FOLLOWERS,
        **fit_parameters(FIT),
    },
    "suspicions.find": {
        "since": BASE + timedelta(seconds=30 * SIGNALS) - timedelta(days=1),
        "now": UNTIL,
        "least": 100,
        "times": 10,
        "shown": 20,
        "most": 10_000,
        "followers": MAX_FOLLOWERS,
        **fit_parameters(FIT),
    },
    "suspicions.forget": {"before": BASE + timedelta(days=1), "limit": 1_000},
    "suspicions.list": {"limit": 100},
    "connections.count": {"license_ids": ["lic_7", "lic_8"]},
    "connections.used_urls": {"nonces": ["nonce-7", "nonce-8"]},
    "connections.open": {
        "connection_ids": ["connection-new"],
        "license_ids": ["lic_7"],
        "nonces": ["nonce-new"],
        "session_ids": [None],
        "sessions": [None],
    },
    "connections.close": {"connection_ids": ["connection-7"]},
    "connections.forget_missing": {"license_id": "lic_7", "listed": ["connection-7"], "older_than_s": 60},
    "connections.counted": {"license_id": "lic_7"},
    "connections.add": {"license_id": "lic_7", "added": ["connection-new"]},
    "connections.note_check": {"license_id": "lic_7"},
    "connections.excess": {"license_id": "lic_7", "allowed": 3, "limit": 1_000},
    "connections.prune_used_urls": {"older_than_s": 15_000, "limit": 100},
    "upkeep.prune_outbox": {"before": BASE + timedelta(days=1), "limit": BATCH},
    "upkeep.prune_signals": {"before": BASE + timedelta(days=1), "limit": BATCH},
    "upkeep.prune_bars": {"symbol": "ES", "before": BASE + timedelta(days=1), "limit": BATCH},
    "upkeep.prune_bar_changes": {"symbol": "ES", "before": BASE + timedelta(days=1), "limit": BATCH},
    "upkeep.symbols_with_bars": {},
}
for _more in (
    asked_claims,
    asked_licenses,
    asked_misuse,
    asked_notifications,
    asked_hooks,
    asked_payments,
):  # each has queries of one area, so that this module stays short
    FILL += _more.FILL
    ASKED |= _more.ASKED
    NOT_EXPLAINED |= _more.NOT_EXPLAINED
    JOBS |= _more.JOBS
    SMALL_TABLES |= _more.SMALL_TABLES
