-- name: visible_sequences
-- The last sequence of each symbol, among the given or all, that was published at least so long ago. Sent messages stay longer than any delay; a symbol without messages has none that is younger.
select
    counters.symbol,
    coalesce(
        (
            select sequence from outbox
            where outbox.symbol = counters.symbol and created_at <= now() - make_interval(secs => %(delay_s)s)
            order by sequence desc
            limit 1
        ),
        (select min(sequence) - 1 from outbox where outbox.symbol = counters.symbol),
        counters.last_sequence
    ) as last_sequence
from signal_counters as counters
where %(symbols)s::text[] is null or counters.symbol = any(%(symbols)s::text[]);

-- name: add_delay
-- Adds a delay; no row if it is there already.
insert into signal_delays (delay_s) values (%(delay_s)s) on conflict do nothing returning delay_s;

-- name: begin_feed
-- Begins the feed of a new delay behind what its bots can fetch by now.
insert into delayed_feeds (delay_s, symbol, last_sequence)
values (%(delay_s)s, %(symbol)s, %(last_sequence)s)
on conflict do nothing;

-- name: delays
-- Every delay, the shortest first.
select delay_s from signal_delays order by delay_s;

-- name: try_lock_delay
-- Lets one sender at a time send for a delay, until the end of the transaction.
select pg_try_advisory_xact_lock(hashtext('signal_cloud.delayed'), %(delay_s)s);

-- name: due
-- A symbol's messages that are due under a delay, up to a sequence, and were not sent yet, in order.
select symbol, sequence, payload
from outbox
where symbol = %(symbol)s
    and sequence <= %(visible)s
    and sequence > coalesce(
        (select last_sequence from delayed_feeds where delay_s = %(delay_s)s and symbol = %(symbol)s), 0
    )
order by sequence
limit %(limit)s;

-- name: note_sent
-- Notes the last message that was sent for a delay and a symbol.
insert into delayed_feeds as feeds (delay_s, symbol, last_sequence)
values (%(delay_s)s, %(symbol)s, %(sequence)s)
on conflict (delay_s, symbol) do update set last_sequence = excluded.last_sequence
where feeds.last_sequence < excluded.last_sequence;

-- name: sent_sequences
-- What was last sent for each delay and symbol.
select delay_s, symbol, last_sequence from delayed_feeds;
