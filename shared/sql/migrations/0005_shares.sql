-- Fair shares of the database: quotas, daily figures, and partitions that a report cannot make without end.

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
create or replace function ensure_trade_partitions(times timestamptz[]) returns integer
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

-- How many trades an account has of each UTC day (of exit_at) and symbol. A page reads from it the earliest day
-- that it must look at. `stale` means that trade_day_figures lacks trades of the day.
create table trade_days (
    account_id text not null check (length(account_id) between 1 and 64),
    day date not null check (isfinite(day)),
    symbol symbol not null,
    trades bigint not null check (trades >= 1),
    stale boolean not null default true,
    primary key (account_id, day, symbol)
);
comment on index trade_days_pkey is 'Prevents a day''s trades from being counted in two rows.';

create index trade_days_stale on trade_days (account_id, day) where stale;

-- Figures of an account's trades of one UTC day, of one symbol or of all (symbol ''). The days of an account
-- combine, in order, to exactly the figures of all their trades. `peak` and `low` are the highest and the lowest
-- cumulative pnl after a trade of the day (peak at least 0), `drawdown` the largest fall below the peak so far.
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

-- Counts the trades that are stored already. Their owner may read them only without `force`, and may write into
-- the new tables only before these have it.
alter table trades no force row level security;
insert into trade_days (account_id, day, symbol, trades)
select account_id, (exit_at at time zone 'UTC')::date, symbol, count(*)
from trades
group by 1, 2, 3;
insert into account_usage (account_id, stored_trades, stored_bytes, day, day_trades)
select account_id, count(*), sum(pg_column_size(trades.*)), (now() at time zone 'UTC')::date, 0
from trades
group by 1;
alter table trades force row level security;

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
