-- name: replica_state
-- Whether this server is a replica, and when the last transaction that it has was committed on the server that it follows.
select pg_is_in_recovery() as is_replica, pg_last_xact_replay_timestamp() as replayed_at;

-- name: is_fenced
-- Whether new transactions of a new session are read-only by default.
select current_setting('default_transaction_read_only')::boolean;

-- name: timeline
-- This server's line of history; each promotion of a replica begins another one.
select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);

-- name: is_raised
-- Whether the counters were raised since the promotion that began a timeline.
select exists (select from audit where action = 'failover.sequences' and subject = %(timeline)s);

-- name: raise_counters
-- Leaves a gap in the sequence of every symbol that has signals, and of the given symbols.
insert into signal_counters as counters (symbol, last_sequence)
select known.symbol, %(gap)s
from (select symbol::text from signal_counters union select unnest(%(symbols)s::text[])) as known (symbol)
on conflict (symbol) do update set last_sequence = counters.last_sequence + %(gap)s
returning symbol, last_sequence;

-- name: record_raise
-- Notes in the audit log that the counters were raised on a timeline, and to which values.
select write_audit('failover', 'failover.sequences', %(timeline)s, %(detail)s);
