-- The last sequence of each symbol. Locking its row is what makes a symbol's sequence gapless: the next
-- signal waits until the one before it is committed or gone.
create table signal_counters (
    symbol symbol primary key,
    last_sequence bigint not null check (last_sequence >= 1)
);
comment on index signal_counters_pkey is 'Prevents a symbol from having two counters, and so two sequences.';

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
    check (kind = 'entry' or expires_at is null),
    primary key (symbol, sequence)
);
comment on index signals_pkey is 'Prevents two signals in one place of a symbol''s sequence.';

create unique index signals_idempotency_key on signals (symbol, idempotency_key)
    where idempotency_key is not null;
comment on index signals_idempotency_key is
    'Prevents a publisher''s retry, or an engine run again after a crash, from signalling twice.';

create index signals_received_at on signals (received_at);

-- Messages on their way to the hub; written with the signal, in its transaction.
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
grant select, insert on outbox to signal_functions;
grant update (sent_at) on outbox to signal_functions;
grant select, delete on signals, outbox to signal_jobs;
