-- The whole current schema in one place. A test checks that it equals the replayed migrations.
-- Requires PostgreSQL 18, and the roles signal_functions and signal_jobs (queries/migrations.sql).

-- Prices, money and quantities are exact and finite. They are never rounded on input, because a check refuses
-- values that a fixed scale would round. Prices may be negative, as crude oil's was in 2020.
create domain price as numeric check (abs(value) <= 1000000000 and scale(value) <= 8);
create domain amount as numeric check (abs(value) <= 1000000000 and scale(value) <= 8);
create domain quantity as numeric check (value > 0 and value <= 1000000000 and scale(value) <= 8);
create domain symbol as text check (value ~ '^[A-Z][A-Z0-9]{0,11}$');

create table schema_migrations (
    name text primary key,
    checksum text not null check (length(checksum) = 64),
    applied_at timestamptz not null default now()
);
comment on index schema_migrations_pkey is 'Prevents a migration from being applied twice.';

-- One row for each trade_id of an account. A unique index of a partitioned table must contain its partition
-- key, so this table keeps trade_ids unique; it also holds the month in which to look for the trade.
create table trade_ids (
    account_id text not null check (length(account_id) between 1 and 64),
    trade_id text not null check (length(trade_id) between 1 and 64),
    exit_at timestamptz not null,
    primary key (account_id, trade_id)
);
comment on index trade_ids_pkey is
    'Prevents one trade from counting twice when a bot reports it again, also with another exit time.';

create table trades (
    account_id text not null,
    trade_id text not null,
    key_public_id text not null check (length(key_public_id) between 1 and 64),
    symbol symbol not null,
    side text not null check (side in ('LONG', 'SHORT')),
    strategy text not null check (length(strategy) between 1 and 64),
    quantity quantity not null,
    entry_price price not null,
    exit_price price not null,
    entry_at timestamptz not null,
    exit_at timestamptz not null check (isfinite(exit_at)),
    pnl amount not null,
    fees amount not null,
    signal_sequence bigint check (signal_sequence >= 1),
    confidence double precision check (confidence between 0 and 1),
    model_version text check (length(model_version) <= 128),
    features jsonb check (jsonb_typeof(features) = 'object'),
    received_at timestamptz not null default now(),
    withdrawn_at timestamptz,
    check (entry_at <= exit_at),
    primary key (account_id, exit_at, trade_id)
) partition by range (exit_at);
comment on index trades_pkey is
    'Prevents two rows of one trade; its order is the order of an account''s pages.';

create index trades_signal on trades (symbol, signal_sequence) where signal_sequence is not null;
create index trades_symbol on trades (account_id, symbol, exit_at, trade_id);

-- Row-level security: only a bot's own account can read and write its rows. Each transaction sets
-- app.account_id; without it, no row matches. `force` applies the policies to the tables' owner as well.
alter table trade_ids enable row level security;
alter table trade_ids force row level security;
create policy own_account on trade_ids to signal_functions
    using (account_id = current_setting('app.account_id', true));

alter table trades enable row level security;
alter table trades force row level security;
create policy own_account on trades to signal_functions
    using (account_id = current_setting('app.account_id', true));
create policy all_accounts on trades for select to signal_jobs using (true);

-- Creates the partitions of the months of `times`, for timers and imports. It runs with the owner's rights, so
-- that no login need own tables. It creates a table and attaches it, which blocks no writer; creating a partition
-- in place would. There is no default partition, so rows never have to move.
create function make_trade_partitions(times timestamptz[]) returns integer
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    month timestamp;
    partition text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('ensure_trade_partitions'));
    for month in
        select distinct date_trunc('month', wanted at time zone 'UTC') as first_day
        from unnest(times) as wanted
        order by first_day
    loop
        -- Far-off months are mistakes; each partition costs every later plan a little.
        if month < timestamp '2000-01-01' or month > (now() at time zone 'UTC') + interval '4 months' then
            raise exception 'no partition for %', month using errcode = 'datetime_field_overflow';
        end if;
        partition := to_char(month, '"trades_"YYYY_MM');
        -- Not to_regclass, which may remember the time before this transaction waited for the lock.
        continue when exists (
            select from pg_class where relname = partition and relnamespace = 'public'::regnamespace
        );
        execute format('create table public.%I (like public.trades including all)', partition);
        execute format(
            'alter table public.trades attach partition public.%I for values from (%L) to (%L)',
            partition, month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC'
        );
        made := made + 1;
    end loop;
    return made;
end
$$;
revoke execute on function make_trade_partitions(timestamptz[]) from public;
grant execute on function make_trade_partitions(timestamptz[]) to signal_jobs;

-- The same for a report of trades, which may be an attack: at most two partitions a call, of recent months. The
-- app refuses trades that are older than 90 days; one day more leaves room between two clocks.
create function ensure_trade_partitions(times timestamptz[]) returns integer
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    too_old timestamptz := (select min(wanted) from unnest(times) as wanted);
begin
    if too_old < now() - interval '91 days' then
        raise exception 'no partition for %', too_old using errcode = 'datetime_field_overflow';
    end if;
    perform pg_advisory_xact_lock(hashtext('ensure_trade_partitions'));
    return make_trade_partitions(array(
        select date_trunc('month', wanted at time zone 'UTC') at time zone 'UTC' as month
        from unnest(times) as wanted
        where not exists (
            select from pg_class
            where relname = to_char(wanted at time zone 'UTC', '"trades_"YYYY_MM')
                and relnamespace = 'public'::regnamespace
        )
        group by month
        order by month
        limit 2
    ));
end
$$;
revoke execute on function ensure_trade_partitions(timestamptz[]) from public;
grant execute on function ensure_trade_partitions(timestamptz[]) to signal_functions, signal_jobs;

grant usage on schema public to signal_functions, signal_jobs;
grant select on schema_migrations to signal_functions, signal_jobs;
grant select, insert on trade_ids to signal_functions;
grant select, insert on trades to signal_functions;
-- The only column of a trade that ever changes: an account can withdraw its trade, and it stays stored.
grant update (withdrawn_at) on trades to signal_functions;
grant select on trades to signal_jobs;

-- The last sequence of each symbol. The lock on its row makes a symbol's sequence gapless: the next signal
-- waits until the one before it is committed or rolled back.
create table signal_counters (
    symbol symbol primary key,
    last_sequence bigint not null check (last_sequence >= 1)
);
comment on index signal_counters_pkey is 'Prevents a symbol from having two counters, and so two sequences.';

-- `publisher` is the account that sent the signal, null for the signal engine; `default_times` are the times that its
-- request left out, null if the signal is of a version that did not store them.
create table signals (
    symbol symbol not null,
    sequence bigint not null check (sequence >= 1),
    id uuid not null default uuidv7(),
    strategy text not null check (length(strategy) between 1 and 64),
    strategy_version integer not null check (strategy_version >= 1),
    kind text not null check (kind in ('entry', 'exit')),
    side text not null check (side in ('LONG', 'SHORT')),
    price price not null,
    stop_price price,
    target_price price,
    event_at timestamptz not null check (isfinite(event_at)),
    expires_at timestamptz check (expires_at > event_at),
    received_at timestamptz not null default now(),
    features jsonb not null check (jsonb_typeof(features) = 'object'),
    source text not null check (source in ('live', 'replay', 'simulated')),
    idempotency_key text check (length(idempotency_key) between 1 and 255),
    settled boolean not null default false,
    publisher text check (length(publisher) between 1 and 64),
    default_times text[] check (default_times <@ array['event_at', 'expires_at']),
    check (kind = 'entry' or expires_at is null),
    primary key (symbol, sequence)
);
comment on index signals_pkey is 'Prevents two signals in one place of a symbol''s sequence.';

create unique index signals_idempotency_key on signals (symbol, idempotency_key)
    where idempotency_key is not null;
comment on index signals_idempotency_key is
    'Prevents a publisher''s retry, or an engine run again after a crash, from signalling twice.';

-- Finds the signal of an idempotency key on any symbol. Not unique, because the former version may use one key for
-- several symbols; the app locks the publisher instead.
create index signals_key on signals (idempotency_key) where idempotency_key is not null;

create index signals_received_at on signals (received_at);

-- The engine asks for the signals that it published in the time of late and corrected bars.
create index signals_event_at on signals (symbol, strategy, event_at);

-- Every strategy that ever had a signal, also after upkeep has deleted its signals.
create table published_strategies (
    strategy text primary key check (length(strategy) between 1 and 64),
    published_at timestamptz not null default now()
);
comment on index published_strategies_pkey is 'Prevents a strategy from being listed twice.';

-- Messages for the hub; each is written in its signal's transaction.
create table outbox (
    symbol symbol not null,
    sequence bigint not null,
    payload bytea not null check (length(payload) between 1 and 65536),
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    primary key (symbol, sequence)
);
comment on index outbox_pkey is 'Prevents one signal from being queued twice.';

create index outbox_unsent on outbox (symbol, sequence) include (created_at) where sent_at is null;
create index outbox_sent_at on outbox (sent_at) where sent_at is not null;

grant select, insert, update on signal_counters to signal_functions;
grant select, insert on signals to signal_functions;
grant select, insert on published_strategies to signal_functions;
grant select, insert on outbox to signal_functions;
grant update (sent_at) on outbox to signal_functions;
grant select, delete on signals, outbox to signal_jobs;

-- Not partitioned, because five symbols have fewer than two million rows a year and upkeep deletes by key
-- range.
create table bars (
    symbol symbol not null,
    open_time timestamptz not null
        check (date_trunc('minute', open_time at time zone 'UTC') = open_time at time zone 'UTC'),
    open price not null,
    high price not null,
    low price not null,
    close price not null,
    volume bigint not null check (volume between 0 and 1000000000),
    source text not null check (source in ('live', 'replay', 'simulated')),
    received_at timestamptz not null,
    late boolean not null default false,
    quarantined boolean not null default false,
    check (low <= least(open, close) and high >= greatest(open, close)),
    primary key (symbol, open_time)
);
comment on index bars_pkey is 'Prevents one minute of a symbol from being counted twice into its VWAP.';

-- `late` bars came after a bar of a later minute. The engine does not use `quarantined` bars, because their prices are
-- too far from those around them.
create index bars_quarantined on bars (symbol, open_time) where quarantined;

-- Changes to the past of a symbol's bars, in the order in which they were committed. A correction has the
-- content that it replaced. A row without content says that bars came late, from `open_time` on.
create table bar_changes (
    symbol symbol not null,
    change bigint not null generated always as identity,
    open_time timestamptz not null,
    open price,
    high price,
    low price,
    close price,
    volume bigint,
    source text,
    changed_at timestamptz not null,
    check (num_nonnulls(open, high, low, close, volume, source) in (0, 6)),
    primary key (symbol, change)
);
comment on index bar_changes_pkey is 'Prevents an engine from taking two changes for one.';

create index bar_changes_open_time on bar_changes (symbol, open_time);

-- The newest bar of each symbol, so that health checks and the engine's timer need not search the bars.
create table feeds (
    symbol symbol primary key,
    last_open_time timestamptz not null,
    last_received_at timestamptz not null,
    source text not null check (source in ('live', 'replay', 'simulated'))
);
comment on index feeds_pkey is 'Prevents a symbol from being both fresh and stale.';

-- Each strategy's progress with each symbol; an engine locks the row while it processes a batch of bars. `last_change`
-- is the last change of bars that it has taken in, `checkpoints` are its states at the start of the recent sessions.
create table engine_state (
    symbol symbol not null,
    strategy text not null check (length(strategy) between 1 and 64),
    last_open_time timestamptz,
    state bytea check (length(state) <= 1048576),
    updated_at timestamptz not null default now(),
    last_change bigint not null default 0,
    checkpoints bytea check (length(checkpoints) <= 1048576),
    primary key (symbol, strategy)
);
comment on index engine_state_pkey is 'Prevents two engines from signalling on the same bars.';

-- A correction changes what was traded, but never when we first received the minute: that time keeps signals
-- from training whose publisher knew their result.
grant select, insert on bars to signal_functions;
grant update (open, high, low, close, volume, source, quarantined) on bars to signal_functions;
grant select, insert on bar_changes to signal_functions;
grant select, insert, update on feeds, engine_state to signal_functions;
grant select, delete on bars, bar_changes to signal_jobs;
grant select on feeds to signal_jobs;

create table models (
    version text primary key check (length(version) between 1 and 128),
    strategy text not null check (length(strategy) between 1 and 64),
    status text not null check (status in ('candidate', 'champion', 'challenger', 'retired')),
    basis text not null check (basis in ('model', 'base_rate')),
    artefact bytea,
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    created_at timestamptz not null,
    check (basis = 'base_rate' or artefact is not null)
);
comment on index models_pkey is 'Prevents a model version from meaning two models.';

create unique index models_champion on models (strategy) where status = 'champion';
comment on index models_champion is 'Prevents two models of one strategy from being served at once.';

create index models_strategy on models (strategy, created_at);

-- The actor and the subject of each change; rows are only ever added.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null check (length(actor) between 1 and 128),
    action text not null check (length(action) between 1 and 64),
    subject text not null check (length(subject) between 1 and 256),
    detail jsonb not null check (jsonb_typeof(detail) = 'object')
);
comment on index audit_pkey is 'Prevents two entries from being taken for one.';

grant select on models to signal_functions;
grant select, insert on models to signal_jobs;
grant update (status) on models to signal_jobs;

-- Adds an audit entry. It runs with the owner's rights, and takes the actor from the login of the session, which
-- `set role` does not change; `note` says which part of our software acted. Nobody may insert directly, so no
-- login can write an entry in another actor's name.
create function write_audit(note text, action text, subject text, detail jsonb) returns void
language sql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    insert into public.audit (actor, action, subject, detail)
    values (left(concat_ws(': ', session_user, nullif(note, '')), 128), action, subject, detail)
$$;
revoke execute on function write_audit(text, text, text, jsonb) from public;
grant execute on function write_audit(text, text, text, jsonb) to signal_functions, signal_jobs;

-- How many trades an account has of each UTC day (of exit_at) and symbol. A page reads from it the earliest day
-- that it must look at. `counted` is the number of trades that the figures of the day were computed from, net of
-- fees; if it differs from `trades`, the figures are computed again. `stale` is for the version before `counted`,
-- which computed the figures before fees: a deployment may swap back to it.
create table trade_days (
    account_id text not null check (length(account_id) between 1 and 64),
    day date not null check (isfinite(day)),
    symbol symbol not null,
    trades bigint not null check (trades >= 1),
    stale boolean not null default true,
    counted bigint not null default 0,
    primary key (account_id, day, symbol)
);
comment on index trade_days_pkey is 'Prevents a day''s trades from being counted in two rows.';

create index trade_days_stale on trade_days (account_id, day) where stale;
create index trade_days_uncounted on trade_days (account_id, day) where counted <> trades;

-- Figures of an account's trades of one UTC day, of one symbol or of all (symbol ''). The days of an account
-- combine, in order, to exactly the figures of all their trades. Net pnl is pnl - fees: above 0 it is a win, and
-- `won` and `lost` are its sums. `peak` and `low` are the highest and the lowest cumulative net pnl after a trade of
-- the day (peak at least 0), `drawdown` the largest fall below the peak so far. Withdrawn trades do not count.
-- `squares` is the sum of (confidence - won)^2, `gaps` the sum of confidence - won in each of ten bins.
create table trade_day_figures (
    account_id text not null,
    day date not null,
    symbol text not null,
    trades bigint not null,
    wins bigint not null,
    losses bigint not null,
    pnl numeric not null,
    fees numeric not null,
    won numeric not null,
    lost numeric not null,
    peak numeric not null check (peak >= 0),
    low numeric not null,
    drawdown numeric not null check (drawdown >= 0),
    scored bigint not null,
    squares numeric not null,
    gaps numeric[] not null check (cardinality(gaps) = 10),
    primary key (account_id, day, symbol)
);
comment on index trade_day_figures_pkey is 'Prevents a day from counting twice in an account''s figures.';

-- What each account has stored, and how many trades on its last day (UTC) with a report. A report changes the row
-- in its own transaction, so the quotas are exact over all processes.
create table account_usage (
    account_id text primary key check (length(account_id) between 1 and 64),
    stored_trades bigint not null check (stored_trades >= 0),
    stored_bytes bigint not null check (stored_bytes >= 0),
    day date not null,
    day_trades bigint not null check (day_trades >= 0)
);
comment on index account_usage_pkey is 'Prevents an account from having two quotas.';

alter table trade_days enable row level security;
alter table trade_days force row level security;
create policy own_account on trade_days to signal_functions
    using (account_id = current_setting('app.account_id', true));

alter table trade_day_figures enable row level security;
alter table trade_day_figures force row level security;
create policy own_account on trade_day_figures to signal_functions
    using (account_id = current_setting('app.account_id', true));

alter table account_usage enable row level security;
alter table account_usage force row level security;
create policy own_account on account_usage to signal_functions
    using (account_id = current_setting('app.account_id', true));

grant select, insert, update on trade_days, trade_day_figures, account_usage to signal_functions;

-- The open connections of each license, written when Web PubSub asks whether a client may connect, and
-- deleted when it reports the end. A timer compares them with the service's own list.
create table connections (
    connection_id text primary key check (length(connection_id) between 1 and 256),
    license_id text not null check (length(license_id) between 1 and 64),
    opened_at timestamptz not null default now(),
    checked_at timestamptz not null default now(),
    session_id text check (length(session_id) between 1 and 64),
    session jsonb check (octet_length(session::text) <= 8192)
);
comment on index connections_pkey is 'Prevents one connection from counting twice against its license.';

create index connections_license on connections (license_id, checked_at);
create index connections_session on connections (session_id) where session_id is not null;

-- The client access URLs that have connected, kept until they expire.
create table used_urls (
    nonce text primary key check (length(nonce) between 1 and 64),
    connection_id text not null check (length(connection_id) between 1 and 256),
    used_at timestamptz not null default now()
);
comment on index used_urls_pkey is 'Prevents a client access URL from connecting twice.';

create index used_urls_used_at on used_urls (used_at);

grant select, insert, delete on connections to signal_functions;
grant update (checked_at) on connections to signal_functions;
grant select on connections to signal_jobs;
grant select, insert on used_urls to signal_functions;
grant select, delete on used_urls to signal_jobs;

-- `settled` says whether training has decided the signal's outcome. Signals that cannot be decided are settled too, after a
-- day, so that no run looks at them again.
create index signals_unsettled on signals (strategy, event_at, symbol, sequence)
    where kind = 'entry' and not settled;
grant update (settled) on signals to signal_jobs;

-- The signals that models are trained on, with their features and the result that the bars tell. They stay
-- after upkeep has deleted the signal.
create table signal_outcomes (
    symbol symbol not null,
    sequence bigint not null check (sequence >= 1),
    strategy text not null check (length(strategy) between 1 and 64),
    side text not null check (side in ('LONG', 'SHORT')),
    event_at timestamptz not null check (isfinite(event_at)),
    features jsonb not null check (jsonb_typeof(features) = 'object'),
    won boolean not null,
    settled_at timestamptz not null default now(),
    primary key (symbol, sequence)
);
comment on index signal_outcomes_pkey is
    'Prevents one signal from training twice, however many accounts traded it.';

create index signal_outcomes_training on signal_outcomes (strategy, event_at);

grant select, insert on signal_outcomes to signal_jobs;

-- Trades that operators should look at, in bounded number; the functions show them, the jobs find them.
create table suspicious_trades (
    account_id text not null check (length(account_id) between 1 and 64),
    trade_id text not null check (length(trade_id) between 1 and 64),
    reason text not null check (length(reason) between 1 and 64),
    symbol symbol not null,
    signal_sequence bigint not null,
    exit_at timestamptz not null,
    trades bigint not null check (trades >= 1),
    found_at timestamptz not null,
    primary key (account_id, trade_id, reason)
);
comment on index suspicious_trades_pkey is 'Prevents one trade from being listed twice for one reason.';

create index suspicious_trades_found_at on suspicious_trades (found_at);
create index suspicious_trades_account on suspicious_trades (account_id, found_at);

grant select on suspicious_trades to signal_functions;
grant select, insert, delete on suspicious_trades to signal_jobs;
grant select on signal_counters to signal_jobs;

-- Licenses whose signals come late. Their connections are in groups of their own, and the relay sends each message
-- of the outbox to the groups of every delay that was ever asked for, once it is due there. So a signal costs no
-- further row, and its publication nothing.

-- The delays that licenses have asked for, in seconds.
create table signal_delays (
    delay_s integer primary key check (delay_s between 1 and 86400),
    created_at timestamptz not null default now()
);
comment on index signal_delays_pkey is 'Prevents a delay from being sent twice.';

-- What was last sent to the group of a symbol and a delay. Without a row, nothing was.
create table delayed_feeds (
    delay_s integer not null references signal_delays,
    symbol symbol not null,
    last_sequence bigint not null check (last_sequence >= 0),
    primary key (delay_s, symbol)
);
comment on index delayed_feeds_pkey is 'Prevents a group from having two places in its symbol''s sequence.';

grant select, insert on signal_delays to signal_functions;
grant select, insert on delayed_feeds to signal_functions;
grant update (last_sequence) on delayed_feeds to signal_functions;
-- The claim links that have given their key. A link needs no row before: its token proves itself.
create table claims_used (
    license_id text not null check (length(license_id) between 1 and 64),
    purpose text not null check (purpose in ('first_key', 'lost_key')),
    issued_at timestamptz not null check (isfinite(issued_at)),
    used_at timestamptz not null default now(),
    primary key (license_id, purpose, issued_at)
);
comment on index claims_used_pkey is 'Prevents a claim link from giving two keys.';

create index claims_used_used_at on claims_used (used_at);

grant select, insert on claims_used to signal_functions;
grant select, delete on claims_used to signal_jobs;

-- Test licenses are made by strangers, and removed with all their rows when they have ended. The timers may delete
-- the trades of their accounts, and of no others.
create policy test_accounts on trades for delete to signal_jobs using (starts_with(account_id, 'sc-test-'));
create policy test_accounts on trade_ids to signal_jobs using (starts_with(account_id, 'sc-test-'));
create policy test_accounts on trade_days to signal_jobs using (starts_with(account_id, 'sc-test-'));
create policy test_accounts on trade_day_figures to signal_jobs using (starts_with(account_id, 'sc-test-'));
create policy test_accounts on account_usage to signal_jobs using (starts_with(account_id, 'sc-test-'));
grant delete on trades to signal_jobs;
grant select, delete on trade_ids, trade_days, trade_day_figures, account_usage to signal_jobs;
-- What somebody may be notified of, once each. `fanned_out_at` is null until the timer has decided who is notified.
create table notification_events (
    event_id text primary key check (length(event_id) between 1 and 200),
    kind text not null check (length(kind) between 1 and 64),
    at timestamptz not null check (isfinite(at)),
    account_id text check (length(account_id) between 1 and 64),
    license_id text check (length(license_id) between 1 and 64),
    shown jsonb not null check (jsonb_typeof(shown) = 'object' and length(shown::text) <= 16384),
    received_at timestamptz not null default clock_timestamp(),
    fanned_out_at timestamptz
);
comment on index notification_events_pkey is
    'Prevents one event from being notified twice, however often it is reported.';

create index notification_events_new on notification_events (received_at) where fanned_out_at is null;
create index notification_events_account on notification_events (account_id) where account_id is not null;
create index notification_events_received_at on notification_events (received_at);

-- The addresses that customers want to be notified at. `sealed` holds address and secrets, encrypted under the key named
-- `sealed_by`; `address` is the part of the address that is no secret.
create table destinations (
    destination_id text primary key check (length(destination_id) between 1 and 64),
    account_id text not null check (length(account_id) between 1 and 64),
    license_id text not null check (length(license_id) between 1 and 64),
    kind text not null check (kind in ('webhook', 'discord', 'slack', 'telegram')),
    events text[] not null check (cardinality(events) between 1 and 32),
    address text not null check (length(address) between 1 and 256),
    sealed bytea not null check (length(sealed) between 1 and 8192),
    sealed_by text not null check (length(sealed_by) between 1 and 64),
    created_at timestamptz not null,
    ended_at timestamptz,
    ended_because text check (length(ended_because) <= 256)
);
comment on index destinations_pkey is 'Prevents two destinations from having one id.';

create index destinations_account on destinations (account_id, created_at);
create index destinations_events on destinations using gin (events) where ended_at is null;
create index destinations_sealed_by on destinations (sealed_by);

-- The outbox of notifications: one row for each event and lane, which is where it goes: channel:<name>,
-- mail:<license>, role:<license> or own:<destination>. `tries` counts the attempts; `unanswered` those of them whose
-- answer was lost, so that the receiver may have the message twice. `claimed` is true from the start of an attempt
-- until its result is stored.
create table notifications (
    notification_id uuid primary key default uuidv7(),
    event_id text not null references notification_events on delete cascade,
    lane text not null check (length(lane) between 1 and 128),
    account_id text check (length(account_id) between 1 and 64),
    state text not null default 'waiting' check (state in ('waiting', 'sent', 'parked', 'dropped')),
    tries integer not null default 0 check (tries >= 0),
    unanswered integer not null default 0 check (unanswered >= 0),
    claimed boolean not null default false,
    next_try_at timestamptz not null,
    created_at timestamptz not null default clock_timestamp(),
    done_at timestamptz,
    error text check (length(error) <= 256),
    unique (event_id, lane)
);
comment on index notifications_pkey is 'Prevents two notifications from having one id, by which receivers drop repeats.';
comment on index notifications_event_id_lane_key is 'Prevents one event from being sent to the same place twice.';

create index notifications_waiting on notifications (next_try_at, notification_id) where state = 'waiting';
create index notifications_state on notifications (state, notification_id);
create index notifications_lane on notifications (lane, notification_id);
create index notifications_account on notifications (account_id, notification_id);

-- The pace of each lane and vendor: the next message may go at `ready_at`. A run that sends has the lane until
-- `busy_until`, so that the messages of one lane go one after another, in order.
create table notification_lanes (
    lane text primary key check (length(lane) between 1 and 128),
    ready_at timestamptz not null default 'epoch',
    busy_until timestamptz not null default 'epoch'
);
comment on index notification_lanes_pkey is 'Prevents two runs from sending to one place at the same time.';

alter table notification_events enable row level security;
alter table notification_events force row level security;
alter table notifications enable row level security;
alter table notifications force row level security;
alter table destinations enable row level security;
alter table destinations force row level security;

-- Functions store the events of any account, and read those of their account and those of none, such as signals.
-- Operators read the rows of all accounts; a transaction of theirs says so.
create policy any_event on notification_events for insert to signal_functions with check (true);
create policy own_account on notifications to signal_functions
    using (account_id = current_setting('app.account_id', true));
create policy operators on notifications for select to signal_functions
    using (current_setting('app.operator', true) = 'notifications');
create policy operators_retry on notifications for update to signal_functions
    using (current_setting('app.operator', true) = 'notifications');
create policy own_account on notification_events for select to signal_functions
    using (account_id is null or account_id = current_setting('app.account_id', true));
create policy operators on notification_events for select to signal_functions
    using (current_setting('app.operator', true) = 'notifications');
create policy own_account on destinations to signal_functions
    using (account_id = current_setting('app.account_id', true));
create policy all_accounts on notification_events to signal_jobs using (true);
create policy all_accounts on notifications to signal_jobs using (true);
create policy all_accounts on destinations to signal_jobs using (true);

grant select, insert on notification_events to signal_functions, signal_jobs;
grant update (fanned_out_at) on notification_events to signal_jobs;
grant delete on notification_events to signal_jobs;
grant select, insert on notifications to signal_functions;
grant update (state, tries, next_try_at, done_at, error) on notifications to signal_functions;
grant select, insert, update, delete on notifications to signal_jobs;
grant select, insert, delete on destinations to signal_functions;
grant update (sealed, sealed_by) on destinations to signal_functions;
grant select, delete on destinations to signal_jobs;
grant update (sealed, sealed_by, ended_at, ended_because) on destinations to signal_jobs;
grant select, insert, update, delete on notification_lanes to signal_jobs;

-- The daily summary reads which accounts have trades.
create policy all_accounts on account_usage for select to signal_jobs using (true);
grant select on account_usage to signal_jobs;
-- Every license as Table Storage has it, the source of truth, in a form that can be filtered and ordered. `document` is
-- the license as JSON. `symbols` is null if the license has the symbols of its plan. `search` is what a text is looked
-- for in. `warned_for` is the end of which the holder was warned, `warned_days` the days that were left at the most.
create table license_list (
    license_id text primary key check (length(license_id) between 1 and 64),
    revision bigint not null check (revision >= 1),
    account_id text not null check (length(account_id) between 1 and 64),
    plan text not null check (length(plan) between 1 and 64),
    status text not null check (status in ('active', 'suspended', 'revoked', 'expired')),
    created_at timestamptz not null,
    expires_at timestamptz,
    grace_until timestamptz,
    symbols text[],
    reference text check (length(reference) between 1 and 255),
    search text not null check (length(search) <= 8192),
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    warned_for timestamptz,
    warned_days smallint,
    email text generated always as (lower(document ->> 'email')) stored
);
comment on index license_list_pkey is 'Prevents a license from being listed twice, and a change from being told twice.';

create index license_list_expiring on license_list (expires_at) where status = 'active';

-- A bot's transaction sees its own account's licenses. One that names no account sees all: an operator's, or a timer's.
alter table license_list enable row level security;
alter table license_list force row level security;
create policy own_account_or_operator on license_list to signal_functions
    using (current_setting('app.account_id', true) in ('', account_id));

grant select, insert, update on license_list to signal_functions;

-- What may be misuse of a license, counted for operators: one row an account and day.
create table misuse_days (
    account_id text not null check (length(account_id) between 1 and 64),
    day date not null check (isfinite(day)),
    requests bigint not null check (requests >= 0),
    limited bigint not null check (limited >= 0),
    limited_hours integer not null check (limited_hours between 0 and 16777215),
    sessions_refused bigint not null check (sessions_refused >= 0),
    sessions_taken_over bigint not null check (sessions_taken_over >= 0),
    sessions_replaced bigint not null check (sessions_replaced >= 0),
    primary key (account_id, day)
);
comment on index misuse_days_pkey is 'Prevents an account from having two counts of one day.';

create index misuse_days_day on misuse_days (day);

-- The addresses that used a key on a day, each as a keyed hash that differs every day.
create table misuse_addresses (
    account_id text not null check (length(account_id) between 1 and 64),
    day date not null check (isfinite(day)),
    public_id text not null check (length(public_id) between 1 and 64),
    address bytea not null check (octet_length(address) = 8),
    primary key (account_id, day, public_id, address)
);
comment on index misuse_addresses_pkey is 'Prevents one address of a key from counting twice on a day.';

create index misuse_addresses_day on misuse_addresses (day);

grant select, insert, update on misuse_days to signal_functions;
grant select, insert on misuse_addresses to signal_functions;
grant select, delete on misuse_days, misuse_addresses to signal_jobs;
-- The inbox of payment vendors: each event once, with what became of it. A timer works on what is received. An event
-- without a subject belongs to a payment: `links` are the vendor's ids of that payment, which other events share.
create table payment_events (
    payment_event_id bigint generated always as identity primary key,
    provider text not null check (provider in ('stripe', 'whop')),
    event_id text not null check (length(event_id) between 1 and 255),
    type text not null check (length(type) between 1 and 255),
    kind text not null check (length(kind) between 1 and 64),
    created_at timestamptz not null check (isfinite(created_at)),
    received_at timestamptz not null default now(),
    subject text check (length(subject) between 1 and 300),
    account_id text check (length(account_id) between 1 and 64),
    links text[] not null default '{}' check (cardinality(links) <= 50),
    payload jsonb not null check (jsonb_typeof(payload) = 'object' and length(payload::text) <= 32768),
    state text not null check (state in ('received', 'applied', 'ignored', 'failed')),
    outcome text not null default '' check (length(outcome) <= 500),
    license_id text check (length(license_id) between 1 and 64),
    tries integer not null default 0 check (tries >= 0),
    next_try_at timestamptz not null default now()
);
comment on index payment_events_pkey is 'Prevents two events from having one place in the order of arrival.';

create unique index payment_events_event on payment_events (provider, event_id);
comment on index payment_events_event is 'Prevents an event that a vendor delivers again from counting twice.';

create index payment_events_due on payment_events (next_try_at, payment_event_id) where state = 'received';
create index payment_events_state on payment_events (state, payment_event_id);
create index payment_events_subject on payment_events (subject, payment_event_id) where subject is not null;
create index payment_events_account on payment_events (account_id, payment_event_id) where account_id is not null;
create index payment_events_links on payment_events using gin (links);

grant select, insert on payment_events to signal_functions;
grant update (state, tries, next_try_at) on payment_events to signal_functions;
grant select, delete on payment_events to signal_jobs;
grant update (state, outcome, license_id, account_id, tries, next_try_at) on payment_events to signal_jobs;
-- Addresses that take a publisher's alerts (POST hooks/<secret>). The secret is a key of the license, of which Table
-- Storage has a keyed hash; `public_id` says which key it is, and `previous_public_id` which one before it still
-- works during an overlap. `mapping` is the name of a file in shared/hooks, or a mapping itself.
create table hooks (
    hook_id text primary key check (length(hook_id) = 17),
    account_id text not null check (length(account_id) between 1 and 64),
    license_id text not null check (length(license_id) between 1 and 64),
    public_id text not null check (length(public_id) = 6),
    previous_public_id text check (length(previous_public_id) = 6),
    name text not null check (length(name) between 1 and 64),
    mapping jsonb not null check (jsonb_typeof(mapping) in ('string', 'object')),
    strategy text not null check (length(strategy) between 1 and 64),
    symbols text[] not null check (cardinality(symbols) <= 100),
    addresses text[] not null check (cardinality(addresses) <= 64),
    created_at timestamptz not null,
    rotated_at timestamptz,
    ended_at timestamptz
);
comment on index hooks_pkey is 'Prevents two hooks from having one id.';

create unique index hooks_public_id on hooks (public_id);
comment on index hooks_public_id is 'Prevents one secret from opening two hooks.';

create index hooks_previous_public_id on hooks (previous_public_id) where previous_public_id is not null;
create index hooks_license on hooks (license_id);
create index hooks_account on hooks (account_id, created_at);

alter table hooks enable row level security;
alter table hooks force row level security;
create policy own_account on hooks to signal_functions
    using (account_id = current_setting('app.account_id', true));
-- Operators name a hook by its id alone; a transaction of theirs says so.
create policy operators on hooks for select to signal_functions
    using (current_setting('app.operator', true) = 'hooks');

grant select, insert on hooks to signal_functions;
grant update (public_id, previous_public_id, rotated_at, ended_at) on hooks to signal_functions;

-- Finds the licenses of a holder who has lost the keys. A column, because row-level security lets no index of an
-- expression be used.
create index license_list_email on license_list (email) where email is not null;

-- A test license is removed from the list, too, when it has ended.
create policy test_licenses on license_list to signal_jobs using (plan = 'test');
grant select, delete on license_list to signal_jobs;

-- Erasures of accounts. `account_id` is null when all is done: then nothing connects the pseudonym with the account.
create table erasures (
    pseudonym text primary key check (length(pseudonym) between 1 and 64),
    account_id text check (length(account_id) between 1 and 64),
    requested_at timestamptz not null,
    finished_at timestamptz,
    check ((account_id is null) = (finished_at is not null))
);
comment on index erasures_pkey is 'Prevents two erasures from having one pseudonym.';

create unique index erasures_account on erasures (account_id) where account_id is not null;
comment on index erasures_account is 'Prevents one account from getting two pseudonyms.';

alter table erasures enable row level security;
alter table erasures force row level security;
create policy own_account on erasures to signal_functions
    using (account_id = current_setting('app.account_id', true));
create policy all_accounts on erasures to signal_jobs using (true);
grant select, insert on erasures to signal_functions;
grant select, update on erasures to signal_jobs;

-- The timers may delete rows of accounts that are being erased, or give them the pseudonym, and no others.
create function is_erased(account text) returns boolean
language sql
stable
set search_path = pg_catalog, public, pg_temp
as $$
    select exists (select from public.erasures where erasures.account_id = account)
$$;
create function is_pseudonym(account text) returns boolean
language sql
stable
set search_path = pg_catalog, public, pg_temp
as $$
    select exists (
        select from public.erasures where erasures.pseudonym = account and erasures.finished_at is null
    )
$$;
revoke execute on function is_erased(text), is_pseudonym(text) from public;
grant execute on function is_erased(text), is_pseudonym(text) to signal_jobs;

create policy erasure on trades for update to signal_jobs
    using (is_erased(account_id)) with check (is_pseudonym(account_id));
grant update (account_id, trade_id, key_public_id) on trades to signal_jobs;

create policy erasure on trade_ids to signal_jobs using (is_erased(account_id));
create policy erasure on trade_days to signal_jobs using (is_erased(account_id));
create policy erasure on trade_day_figures to signal_jobs using (is_erased(account_id));
create policy erasure on account_usage to signal_jobs using (is_erased(account_id));
grant select, delete on trade_ids, trade_days, trade_day_figures, account_usage to signal_jobs;

create policy erasure on hooks to signal_jobs using (is_erased(account_id));
grant select, delete on hooks to signal_jobs;
grant update (payload) on payment_events to signal_jobs;
grant delete on notifications to signal_jobs;
grant update (publisher) on signals to signal_jobs;
create index signals_publisher on signals (publisher) where publisher is not null;

-- Gives audit entries the pseudonym of an account that is being erased. It runs with the owner's rights, because
-- nobody may change an entry otherwise. `subjects` are the account's licenses and keys.
create function pseudonymise_audit(account text, subjects text[]) returns integer
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    substitute text := (select pseudonym from erasures where erasures.account_id = account);
    changed integer;
begin
    if substitute is null then
        raise exception 'no erasure of this account is under way' using errcode = 'insufficient_privilege';
    end if;
    update audit
    set subject = case when subject = account then substitute else subject end,
        detail = replace(detail::text, to_json(account)::text, to_json(substitute)::text)::jsonb
    where (subject = account or subject = any(subjects))
        and (subject = account or position(to_json(account)::text in detail::text) > 0);
    get diagnostics changed = row_count;
    return changed;
end
$$;
revoke execute on function pseudonymise_audit(text, text[]) from public;
grant execute on function pseudonymise_audit(text, text[]) to signal_jobs;
create index audit_subject on audit (subject);
grant select on audit to signal_functions;
