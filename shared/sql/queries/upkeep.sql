-- name: make_partitions
-- Creates the partitions of the months of these times.
select make_trade_partitions(%(times)s::timestamptz[]);

-- name: prune_outbox
-- Deletes a bounded number of messages that were sent before a time.
delete from outbox
where (symbol, sequence) in (
    select symbol, sequence from outbox where sent_at < %(before)s order by sent_at limit %(limit)s
);

-- name: prune_signals
-- Deletes a bounded number of signals that were received before a time and have no message left.
delete from signals
where (symbol, sequence) in (
    select symbol, sequence
    from signals
    where received_at < %(before)s
        and not exists (
            select from outbox where outbox.symbol = signals.symbol and outbox.sequence = signals.sequence
        )
    order by received_at
    limit %(limit)s
);

-- name: prune_symbol_signals
-- Deletes a bounded number of a symbol's oldest signals, which were received before a time and have no message left.
delete from signals
where symbol = %(symbol)s and sequence in (
    select sequence
    from signals
    where symbol = %(symbol)s and received_at < %(before)s
        and not exists (
            select from outbox where outbox.symbol = signals.symbol and outbox.sequence = signals.sequence
        )
    order by sequence
    limit %(limit)s
);

-- name: prune_bars
-- Deletes a bounded number of a symbol's bars that began before a time.
delete from bars
where symbol = %(symbol)s and open_time in (
    select open_time from bars
    where symbol = %(symbol)s and open_time < %(before)s
    order by open_time
    limit %(limit)s
);

-- name: prune_bar_changes
-- Deletes a bounded number of the changes of a symbol's bars that began before a time.
delete from bar_changes
where symbol = %(symbol)s and change in (
    select change from bar_changes
    where symbol = %(symbol)s and open_time < %(before)s
    order by open_time
    limit %(limit)s
);

-- name: symbols_with_bars
-- The symbols that ever had a bar.
select symbol from feeds order by symbol;

-- name: prune_notifications
-- Deletes events received before a time, with their notifications, if it was decided who is notified.
delete from notification_events
where ctid = any (array(
    select ctid from notification_events
    where received_at < %(before)s and fanned_out_at is not null
    order by received_at
    limit %(limit)s
));

-- name: prune_claims
-- Deletes a bounded number of uses before a time, whose links have expired since.
delete from claims_used
where (license_id, purpose, issued_at) in (
    select license_id, purpose, issued_at
    from claims_used
    where used_at < %(before)s
    order by used_at
    limit %(limit)s
);

-- name: prune_misuse_days
-- Deletes a bounded number of counts of days before a day.
delete from misuse_days
where (account_id, day) in (
    select account_id, day from misuse_days where day < %(before)s::date order by day limit %(limit)s
);

-- name: prune_misuse_addresses
-- Deletes a bounded number of addresses of days before a day.
delete from misuse_addresses
where (account_id, day, public_id, address) in (
    select account_id, day, public_id, address
    from misuse_addresses
    where day < %(before)s::date
    order by day
    limit %(limit)s
);
