-- name: begin_erasure
-- Notes that an account is to be erased under a pseudonym, unless its erasure is under way already.
insert into erasures (pseudonym, account_id, requested_at)
values (%(pseudonym)s, %(account_id)s, %(now)s)
on conflict (account_id) where account_id is not null do nothing;

-- name: erasures_under_way
-- A bounded number of erasures that are not finished, the oldest first; of one account, or of all if it is null.
select account_id, pseudonym, requested_at
from erasures
where account_id is not null and (%(account_id)s::text is null or account_id = %(account_id)s)
order by requested_at
limit %(limit)s;

-- name: finish_erasure
-- Forgets which account a pseudonym stands for.
update erasures set account_id = null, finished_at = %(now)s where pseudonym = %(pseudonym)s;

-- name: span_of_trades
-- The first and the last exit of an account's trades.
select min(exit_at), max(exit_at) from trades where account_id = %(account_id)s;

-- name: export_trades
-- An account's trades with an exit within a span, for its export.
select * from trades
where account_id = %(account_id)s and exit_at >= %(since)s and exit_at < %(until)s
order by exit_at, trade_id;

-- name: export_trade_ids
-- The ids under which an account has reported trades, for its export.
select trade_id, exit_at from trade_ids where account_id = %(account_id)s order by trade_id;

-- name: export_trade_days
-- An account's trades a day and symbol, for its export.
select * from trade_days where account_id = %(account_id)s order by day, symbol;

-- name: export_trade_day_figures
-- An account's figures a day and symbol, for its export.
select * from trade_day_figures where account_id = %(account_id)s order by day, symbol;

-- name: export_account_usage
-- What an account has stored, for its export.
select * from account_usage where account_id = %(account_id)s;

-- name: export_suspicious_trades
-- An account's trades that operators were shown, for its export.
select * from suspicious_trades where account_id = %(account_id)s order by found_at, trade_id, reason;

-- name: export_signals
-- The signals that an account has published, for its export.
select * from signals where publisher = %(account_id)s order by symbol, sequence;

-- name: export_destinations
-- Where an account is notified, without what is sealed, for its export.
select destination_id, account_id, license_id, kind, events, address, created_at, ended_at, ended_because
from destinations
where account_id = %(account_id)s
order by created_at, destination_id;

-- name: export_misuse_days
-- What was counted of an account each day, for its export.
select * from misuse_days where account_id = %(account_id)s order by day;

-- name: export_misuse_addresses
-- The hashes of the addresses that used an account's keys, for its export.
select account_id, day, public_id, encode(address, 'hex') as address from misuse_addresses
where account_id = %(account_id)s
order by day, public_id;

-- name: export_notifications
-- What an account's destinations were sent, for its export; not what waits for a delay of signals.
select * from notifications
where account_id = %(account_id)s and not (state = 'waiting' and tries = 0 and next_try_at > now())
order by notification_id;

-- name: export_notification_events
-- The events of an account that somebody was notified of, for its export.
select * from notification_events where account_id = %(account_id)s order by received_at, event_id;

-- name: export_license_list
-- An account's licenses as they are listed, for its export.
select * from license_list where account_id = %(account_id)s order by license_id;

-- name: export_claims_used
-- When the claim links of an account's licenses were used, for its export.
select * from claims_used where license_id = any(%(license_ids)s) order by used_at;

-- name: export_connections
-- The open connections of an account's licenses, for its export.
select * from connections where license_id = any(%(license_ids)s) order by opened_at;

-- name: export_payment_events
-- The payment events of an account, for its export.
select * from payment_events where account_id = %(account_id)s order by payment_event_id;

-- name: export_hooks
-- The hooks of an account, for its export.
select * from hooks where account_id = %(account_id)s order by created_at;

-- name: export_erasures
-- The erasure of an account that is under way, for its export.
select requested_at from erasures where account_id = %(account_id)s;

-- name: export_audit
-- The audit entries on an account, its licenses and its keys, for its export; without who acted.
select id, at, action, subject, detail from audit where subject = any(%(subjects)s) order by id;

-- name: erase_trades
-- Gives a bounded number of an account's trades its pseudonym, and takes the holder's own names from them.
update trades
set account_id = %(pseudonym)s, trade_id = 'erased-' || gen_random_uuid(), key_public_id = 'erased'
where (account_id, exit_at, trade_id) in (
    select account_id, exit_at, trade_id from trades where account_id = %(account_id)s limit %(limit)s
);

-- name: erase_trade_ids
-- Deletes a bounded number of the ids under which an account has reported trades.
delete from trade_ids
where account_id = %(account_id)s
    and trade_id in (select trade_id from trade_ids where account_id = %(account_id)s limit %(limit)s);

-- name: erase_trade_days
-- Deletes an account's counts of trades.
delete from trade_days where account_id = %(account_id)s;

-- name: erase_trade_day_figures
-- Deletes an account's figures.
delete from trade_day_figures where account_id = %(account_id)s;

-- name: erase_account_usage
-- Deletes what counts against an account's quotas.
delete from account_usage where account_id = %(account_id)s;

-- name: erase_suspicious_trades
-- Deletes what operators were shown of an account.
delete from suspicious_trades where account_id = %(account_id)s;

-- name: erase_destinations
-- Deletes where an account is notified.
delete from destinations where account_id = %(account_id)s;

-- name: erase_misuse_days
-- Deletes what was counted of an account.
delete from misuse_days where account_id = %(account_id)s;

-- name: erase_misuse_addresses
-- Deletes the hashes of the addresses that used an account's keys.
delete from misuse_addresses where account_id = %(account_id)s;

-- name: erase_notifications
-- Deletes a bounded number of the notifications of an account's destinations.
delete from notifications
where notification_id in (
    select notification_id from notifications where account_id = %(account_id)s limit %(limit)s
);

-- name: erase_notification_events
-- Deletes a bounded number of an account's events, with their notifications.
delete from notification_events
where event_id in (select event_id from notification_events where account_id = %(account_id)s limit %(limit)s);

-- name: erase_signals
-- Gives a bounded number of the signals that an account has published its pseudonym.
update signals
set publisher = %(pseudonym)s
where (symbol, sequence) in (
    select symbol, sequence from signals where publisher = %(account_id)s limit %(limit)s
);

-- name: erase_payment_events
-- Gives the payment events of an account its pseudonym, and takes the buyer from them.
update payment_events
set account_id = %(pseudonym)s, payload = payload - 'email' - 'discord_user_id' - 'customer'
where account_id = %(account_id)s;

-- name: erase_hooks
-- Deletes the hooks of an account, whose licenses are revoked already.
delete from hooks where account_id = %(account_id)s;

-- name: erase_audit
-- Gives the audit entries on an account, its licenses and its keys its pseudonym; returns how many.
select pseudonymise_audit(%(account_id)s, %(subjects)s);
