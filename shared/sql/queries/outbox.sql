-- name: wait_at_most
-- Bounds the wait for the next lock of this transaction.
select set_config('lock_timeout', %(lock_timeout)s, true);

-- name: lock_batch
-- Lets one sender at a time send for a symbol, until the end of the transaction or of its session.
select pg_advisory_xact_lock(hashtext('signal_cloud.outbox'), hashtext(%(symbol)s));

-- name: unsent
-- The symbol's unsent messages, in order, and the age of each in seconds.
select symbol, sequence, payload, extract(epoch from clock_timestamp() - created_at)::double precision as age_s
from outbox
where symbol = %(symbol)s and sent_at is null
order by sequence
limit %(limit)s;

-- name: mark_sent
-- Marks the symbol's messages up to and including a sequence as sent.
update outbox set sent_at = clock_timestamp()
where symbol = %(symbol)s and sequence <= %(sequence)s and sent_at is null;

-- name: pending
-- The symbols that have unsent messages.
select distinct symbol from outbox where sent_at is null order by symbol;

-- name: depth
-- The number of unsent messages, and the age of the oldest in seconds.
select count(*) as n, coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::double precision as age_s
from outbox
where sent_at is null;
