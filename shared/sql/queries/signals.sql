-- name: lock_publisher
-- Lets the signals of one publisher be stored one after another, over all processes, until the end of the transaction.
select pg_advisory_xact_lock(hashtextextended('signals of ' || %(publisher)s, 0));

-- name: repeated_key
-- The signal of a publisher's idempotency key, whatever its symbol. Several exist only if the former version stored them; then that of the same symbol.
select
    id, symbol, sequence, strategy, strategy_version, kind, side, price, stop_price, target_price, event_at,
    expires_at, features, source, default_times
from signals
where idempotency_key = %(idempotency_key)s
order by symbol <> %(symbol)s, received_at
limit 1;

-- name: repeated_alert
-- The first of a publisher's signals around a time that has this strategy, symbol, side, kind and price. Around, because the clock of another process may be ahead.
select
    id, symbol, sequence, strategy, strategy_version, kind, side, price, stop_price, target_price, event_at,
    expires_at, features, source, default_times
from signals
where received_at > %(received_at)s::timestamptz - %(window)s::interval
    and received_at < %(received_at)s::timestamptz + %(window)s::interval
    and publisher = %(publisher)s and symbol = %(symbol)s and strategy = %(strategy)s
    and side = %(side)s and kind = %(kind)s and price = %(price)s
order by sequence
limit 1;

-- name: insert_signal
-- Takes the symbol's next sequence and locks its counter until the end of the transaction; no row if the key was used.
with listed as (
    insert into published_strategies (strategy) values (%(strategy)s) on conflict do nothing
), counter as (
    insert into signal_counters as counters (symbol, last_sequence)
    values (%(symbol)s, 1)
    on conflict (symbol) do update set last_sequence = counters.last_sequence + 1
    returning last_sequence
)
insert into signals (
    symbol, sequence, strategy, strategy_version, kind, side, price, stop_price, target_price, event_at,
    expires_at, received_at, features, source, idempotency_key, publisher, default_times
)
select
    %(symbol)s, last_sequence, %(strategy)s, %(strategy_version)s, %(kind)s, %(side)s, %(price)s,
    %(stop_price)s, %(target_price)s, %(event_at)s, %(expires_at)s,
    coalesce(%(received_at)s::timestamptz, now()), %(features)s, %(source)s, %(idempotency_key)s,
    %(publisher)s, %(default_times)s::text[]
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

-- name: last_of_publisher
-- The last signal of a publisher's strategy on a symbol, by the time of the market.
select
    id, symbol, sequence, strategy, strategy_version, kind, side, price, stop_price, target_price, event_at,
    expires_at, features, source
from signals
where symbol = %(symbol)s and strategy = %(strategy)s and publisher = %(publisher)s
order by event_at desc, sequence desc
limit 1;

-- name: published_strategies
-- Those of some strategies that ever had a signal.
select strategy from published_strategies where strategy = any(%(strategies)s::text[]);

-- name: last_price
-- The close of the newest bar in some spans of time that is not in quarantine, and the start of its minute.
select newest.close, newest.open_time
from unnest(%(symbols)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
    as asked (symbol, first, last)
cross join lateral (
    select close, open_time
    from bars
    where bars.symbol = asked.symbol and open_time >= asked.first and open_time <= asked.last
        and not quarantined
    order by open_time desc
    limit 1
) as newest
order by newest.open_time desc
limit 1;

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
-- Milliseconds from the receipt of a signal's cause to its publication, without the test stream: their number, and three percentiles (50, 95, 99).
select
    count(*) as n,
    percentile_cont(array[0.5, 0.95, 0.99])
        within group (order by extract(epoch from sent_at - received_at)::double precision * 1000) as percentiles
from signals
join outbox using (symbol, sequence)
where received_at >= %(since)s and sent_at is not null and symbol <> 'TEST';
