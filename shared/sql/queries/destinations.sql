-- name: lock_account
-- Lets one request at a time add destinations to an account.
select pg_advisory_xact_lock(hashtextextended('destinations of ' || %(account_id)s, 0));

-- name: add
-- Adds a destination, unless its account has as many as it may have.
insert into destinations (
    destination_id, account_id, license_id, kind, events, address, sealed, sealed_by, created_at
)
select
    %(destination_id)s, %(account_id)s, %(license_id)s, %(kind)s, %(events)s::text[], %(address)s, %(sealed)s,
    %(sealed_by)s, %(created_at)s
where (select count(*) from destinations where account_id = %(account_id)s) < %(most)s;

-- name: list
-- The destinations of an account, the oldest first.
select destination_id, account_id, license_id, kind, events, address, sealed, sealed_by, created_at, ended_at,
    ended_because
from destinations
where account_id = %(account_id)s
order by created_at, destination_id;

-- name: get
-- One destination, of whatever account the transaction may see.
select destination_id, account_id, license_id, kind, events, address, sealed, sealed_by, created_at, ended_at,
    ended_because
from destinations
where destination_id = %(destination_id)s;

-- name: delete
-- Deletes a destination of an account.
delete from destinations where destination_id = %(destination_id)s and account_id = %(account_id)s;

-- name: seal
-- Stores the sealed part again, unless it has changed since it was read.
update destinations set sealed = %(sealed)s, sealed_by = %(sealed_by)s
where destination_id = %(destination_id)s and sealed = %(former)s;

-- name: sealed_by_others
-- Destinations that are sealed under another key than the present one.
select destination_id, account_id, license_id, kind, events, address, sealed, sealed_by, created_at, ended_at,
    ended_because
from destinations
where sealed_by < %(sealed_by)s or sealed_by > %(sealed_by)s
limit %(limit)s;

-- name: end
-- Ends a destination whose receiver wants no more.
update destinations set ended_at = %(now)s, ended_because = %(because)s
where destination_id = %(destination_id)s and ended_at is null;
