-- name: insert_signal
-- Takes the symbol's next sequence and locks its counter until the end of the transaction; no row if the key was used.
with counter as (
    insert into signal_counters as counters (symbol, last_sequence)
    values (%(symbol)s, 1)
    on conflict (symbol) do update set last_sequence = counters.last_sequence + 1
    returning last_sequence
)
insert into signals (
    symbol, sequence, strategy, strategy_version, kind, side, price, stop_price, target_price, event_at,
    expires_at, received_at, features, source, idempotency_key
)
select
    %(symbol)s, last_sequence, %(strategy)s, %(strategy_version)s, %(kind)s, %(side)s, %(price)s,
    %(stop_price)s, %(target_price)s, %(event_at)s, %(expires_at)s,
    coalesce(%(received_at)s::timestamptz, now()), %(features)s, %(source)s, %(idempotency_key)s
from counter
on conflict (symbol, idempotency_key) where idempotency_key is not null do nothing
returning
    id, symbol, sequence, strategy, strategy_version, kind, side, price, stop_price, target_price, event_at,
    expires_at, features, source;

-- name: give_sequence_back
-- Decrements the counter, because no signal was inserted; insert_signal has locked its row.
update signal_counters set last_sequence = last_sequence - 1 where symbol = %(symbol)s;

-- name: queue_message
-- Puts the signal's message into the outbox, in the signal's own transaction.
insert into outbox (symbol, sequence, payload) values (%(symbol)s, %(sequence)s, %(payload)s);

-- name: signal_of_key
-- The signal that was published under an idempotency key.
select
    id, symbol, sequence, strategy, strategy_version, kind, side, price, stop_price, target_price, event_at,
    expires_at, features, source
from signals
where symbol = %(symbol)s and idempotency_key = %(idempotency_key)s;

-- name: list_signals
-- A symbol's signals after a sequence, in order.
select
    id, symbol, sequence, strategy, strategy_version, kind, side, price, stop_price, target_price, event_at,
    expires_at, features, source
from signals
where symbol = %(symbol)s and sequence > %(after)s
order by sequence
limit %(limit)s;

-- name: last_sequences
-- The last sequence of the given symbols, or of all.
select symbol, last_sequence
from signal_counters
where %(symbols)s::text[] is null or symbol = any(%(symbols)s::text[]);

-- name: latency
-- Milliseconds from the receipt of a signal's cause to its publication: their number, and three percentiles (50, 95, 99).
select
    count(*) as n,
    percentile_cont(array[0.5, 0.95, 0.99])
        within group (order by extract(epoch from sent_at - received_at)::double precision * 1000) as percentiles
from signals
join outbox using (symbol, sequence)
where received_at >= %(since)s and sent_at is not null;
