-- The account that published a signal, null for the signal engine; and the times that its request left out, null if
-- the signal is of a version that did not store them.
alter table signals add column publisher text check (length(publisher) between 1 and 64);
alter table signals add column default_times text[] check (default_times <@ array['event_at', 'expires_at']);

-- Finds the signal of an idempotency key on any symbol. Not unique, because the former version may use one key for
-- several symbols; the app locks the publisher instead.
create index signals_key on signals (idempotency_key) where idempotency_key is not null;

-- Every strategy that ever had a signal, also after upkeep has deleted its signals.
create table published_strategies (
    strategy text primary key check (length(strategy) between 1 and 64),
    published_at timestamptz not null default now()
);
comment on index published_strategies_pkey is 'Prevents a strategy from being listed twice.';

insert into published_strategies (strategy) select distinct strategy from signals;

grant select, insert on published_strategies to signal_functions;
