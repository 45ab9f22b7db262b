-- Prices, money and quantities: exact, finite, and never rounded on the way in, since a check
-- refuses what a fixed scale would round. Prices may be negative, as crude oil's was in 2020.
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

-- One row for each trade_id of an account. A partitioned table cannot be unique without its
-- partition key, so this one is: it says which trade_ids are taken and in which month to look.
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
    check (entry_at <= exit_at),
    primary key (account_id, exit_at, trade_id)
) partition by range (exit_at);
comment on index trades_pkey is
    'Prevents two rows of one trade; its order is the order of an account''s pages.';

create index trades_training on trades (strategy, exit_at) where features is not null;

-- Row-level security: a bot's rows are seen and written by its own account alone. The setting is made
-- for one transaction; without it no row matches. forced, so that it binds the tables' owner as well.
alter table trade_ids enable row level security;
alter table trade_ids force row level security;
create policy own_account on trade_ids to signal_functions
    using (account_id = current_setting('app.account_id', true));

alter table trades enable row level security;
alter table trades force row level security;
create policy own_account on trades to signal_functions
    using (account_id = current_setting('app.account_id', true));
create policy all_accounts on trades for select to signal_jobs using (true);

-- Makes the partitions of the months that `times` fall into. A function of the owner's, so that the
-- roles which report trades need not own tables. Attaching a table of its own blocks no writer, as
-- creating a partition in place would; and with no default partition, no rows ever have to move.
create function ensure_trade_partitions(times timestamptz[]) returns integer
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
        continue when to_regclass('public.' || partition) is not null;
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
revoke execute on function ensure_trade_partitions(timestamptz[]) from public;
grant execute on function ensure_trade_partitions(timestamptz[]) to signal_functions, signal_jobs;

grant usage on schema public to signal_functions, signal_jobs;
grant select on schema_migrations to signal_functions, signal_jobs;
grant select, insert on trade_ids to signal_functions;
grant select, insert on trades to signal_functions;
grant select on trades to signal_jobs;
