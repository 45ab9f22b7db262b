-- name: begin_observation
-- Begins a transaction that sees one consistent state, changes nothing and reads for a bounded time.
begin transaction isolation level repeatable read read only;
set local statement_timeout = '120s';
set local timezone = 'UTC';

-- name: take_role
-- Takes another role, and no account, until the end of the transaction.
select set_config('role', %(role)s, true), set_config('app.account_id', %(account_id)s, true);

-- name: give_role_back
-- Returns to the login's own role.
reset role;

-- name: recorded_trades
-- Trades received in a period: their number, one checksum of all, the newest time; under signal_jobs.
select
    count(*) as rows,
    coalesce(sum(hashtextextended(concat_ws('|', account_id, trade_id, exit_at, pnl, fees), 0)), 0)::text as digest,
    max(received_at) as newest
from trades
where received_at > %(since)s and received_at <= %(until)s;

-- name: recorded_signals
-- The same for signals.
select
    count(*) as rows,
    coalesce(sum(hashtextextended(concat_ws('|', symbol, sequence, side, price, event_at), 0)), 0)::text as digest,
    max(received_at) as newest
from signals
where received_at > %(since)s and received_at <= %(until)s;

-- name: recorded_bars
-- The same for bars.
select
    count(*) as rows,
    coalesce(sum(hashtextextended(concat_ws('|', symbol, open_time, close, volume), 0)), 0)::text as digest,
    max(received_at) as newest
from bars
where received_at > %(since)s and received_at <= %(until)s;

-- name: recorded_audit
-- The same for the audit log.
select
    count(*) as rows,
    coalesce(sum(hashtextextended(concat_ws('|', id, at, actor, action, subject), 0)), 0)::text as digest,
    max(at) as newest
from audit
where at > %(since)s and at <= %(until)s;

-- name: applied_until
-- The migrations that were applied up to a time, in their order.
select name from schema_migrations where applied_at <= %(until)s order by name;

-- name: sequence_faults
-- Symbols whose signals since a time have a gap, or do not end at their counter's value; without the gaps of moves to another region.
select counters.symbol
from signal_counters as counters
join lateral (
    select count(*) as n, min(sequence) as low, max(sequence) as high
    from signals
    where signals.symbol = counters.symbol and received_at > %(since)s
) as kept on kept.n > 0
cross join lateral (
    select
        coalesce(sum(gap) filter (where raised_to <= kept.high), 0) as within,
        coalesce(sum(gap) filter (where raised_to > kept.high), 0) as behind
    from (
        select
            (detail ->> 'gap')::bigint as gap,
            (detail -> 'last_sequences' ->> counters.symbol::text)::bigint as raised_to
        from audit
        where action = 'failover.sequences'
    ) as raises
    where raised_to >= kept.low
) as moves
where kept.high + moves.behind <> counters.last_sequence
    or kept.n + moves.within <> kept.high - kept.low + 1
order by counters.symbol;

-- name: lost_signals
-- Signals without a counter, and messages without a signal.
select
    (select count(*) from signals where not exists (
        select from signal_counters where signal_counters.symbol = signals.symbol
    )) + (select count(*) from outbox where not exists (
        select from signals where signals.symbol = outbox.symbol and signals.sequence = outbox.sequence
    ));

-- name: some_accounts
-- Accounts that reported trades recently; under signal_jobs.
select account_id from trades
where received_at > %(since)s
group by account_id order by max(received_at) desc limit %(limit)s;

-- name: account_view
-- Counts the rows that this transaction's account sees: own trades, others' trades, own ones without a trade_ids row.
select
    count(*) filter (where account_id = current_setting('app.account_id')) as own,
    count(*) filter (where account_id <> current_setting('app.account_id')) as others,
    count(*) filter (where not exists (
        select from trade_ids
        where trade_ids.account_id = trades.account_id
            and trade_ids.trade_id = trades.trade_id
            and trade_ids.exit_at = trades.exit_at
    )) as unkept
from trades;

-- name: unprotected_tables
-- Tables that must separate accounts but do not.
select wanted
from unnest(array[
    'trades', 'trade_ids', 'trade_days', 'trade_day_figures', 'account_usage', 'notification_events', 'notifications',
    'destinations', 'license_list', 'hooks', 'erasures'
]) as wanted
left join pg_class on pg_class.oid = to_regclass('public.' || wanted)
where not coalesce(relrowsecurity and relforcerowsecurity, false)
    or not exists (select from pg_policies where tablename = wanted and starts_with(policyname, 'own_account'));

-- name: unfit_roles
-- Those of the two roles that are missing, or have more rights than they should.
select wanted
from unnest(array['signal_functions', 'signal_jobs']) as wanted
left join pg_roles on rolname = wanted
where rolname is null or rolsuper or rolbypassrls or rolcanlogin;
