-- Whether training has decided the signal's outcome. Signals that cannot be decided are settled too, after a
-- day, so that no run looks at them again.
alter table signals add column settled boolean not null default false;
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

-- Training asks for the trades of a signal, and no longer for all trades of a strategy. The index took 2.8 s
-- for 1.8 million trades. If there are more, build it by hand first, partition by partition, concurrently.
create index if not exists trades_signal on trades (symbol, signal_sequence) where signal_sequence is not null;
drop index trades_training;

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

grant select on suspicious_trades to signal_functions;
grant select, insert, delete on suspicious_trades to signal_jobs;
grant select on signal_counters to signal_jobs;
