-- Not partitioned: five symbols make under two million rows a year, and retention prunes by key range.
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
    check (low <= least(open, close) and high >= greatest(open, close)),
    primary key (symbol, open_time)
);
comment on index bars_pkey is 'Prevents one minute of a symbol from being counted twice into its VWAP.';

-- The newest bar of each symbol, so that health and the engine's timer need not look among the bars.
create table feeds (
    symbol symbol primary key,
    last_open_time timestamptz not null,
    last_received_at timestamptz not null,
    source text not null check (source in ('live', 'replay', 'simulated'))
);
comment on index feeds_pkey is 'Prevents a symbol from being both fresh and stale.';

-- How far each strategy has come with each symbol; its row is the lock of an engine's turn.
create table engine_state (
    symbol symbol not null,
    strategy text not null check (length(strategy) between 1 and 64),
    last_open_time timestamptz,
    state bytea check (length(state) <= 1048576),
    updated_at timestamptz not null default now(),
    primary key (symbol, strategy)
);
comment on index engine_state_pkey is 'Prevents two engines from signalling on the same bars.';

grant select, insert on bars to signal_functions;
grant select, insert, update on feeds, engine_state to signal_functions;
grant select, delete on bars to signal_jobs;
grant select on feeds to signal_jobs;
