-- name: lock_license
-- Lets the hooks of one license be counted and added one after another, until the end of the transaction.
select pg_advisory_xact_lock(hashtextextended('hooks of ' || %(license_id)s, 0));

-- name: count_hooks
-- How many hooks of a license take alerts.
select count(*) as n from hooks where license_id = %(license_id)s and ended_at is null;

-- name: add_hook
-- Adds a hook.
insert into hooks (
    hook_id, account_id, license_id, public_id, name, mapping, strategy, symbols, addresses, created_at
)
values (
    %(hook_id)s, %(account_id)s, %(license_id)s, %(public_id)s, %(name)s, %(mapping)s, %(strategy)s,
    %(symbols)s, %(addresses)s, %(created_at)s
);

-- name: hook_of_secret
-- The hook that the secret with this public id opens, unless it has ended.
select
    hook_id, account_id, license_id, public_id, previous_public_id, name, mapping, strategy, symbols, addresses,
    created_at, rotated_at, ended_at
from hooks
where (public_id = %(public_id)s or previous_public_id = %(public_id)s) and ended_at is null;

-- name: as_operator
-- Shows this transaction the hooks of all accounts.
select set_config('app.operator', 'hooks', true);

-- name: hook
-- A hook by its id, also if it has ended.
select
    hook_id, account_id, license_id, public_id, previous_public_id, name, mapping, strategy, symbols, addresses,
    created_at, rotated_at, ended_at
from hooks
where hook_id = %(hook_id)s;

-- name: hooks_of_account
-- The hooks of an account, or of one of its licenses, the latest first.
select
    hook_id, account_id, license_id, public_id, previous_public_id, name, mapping, strategy, symbols, addresses,
    created_at, rotated_at, ended_at
from hooks
where account_id = %(account_id)s and (%(license_id)s::text is null or license_id = %(license_id)s)
order by created_at desc, hook_id
limit %(limit)s;

-- name: rotate_hook
-- Gives a hook another secret, unless it has ended, or its secret is no longer the one that the caller saw.
update hooks
set previous_public_id = public_id, public_id = %(public_id)s, rotated_at = %(at)s
where hook_id = %(hook_id)s and public_id = %(former)s and ended_at is null
returning
    hook_id, account_id, license_id, public_id, previous_public_id, name, mapping, strategy, symbols, addresses,
    created_at, rotated_at, ended_at;

-- name: end_hook
-- Ends a hook; ending it again changes nothing.
update hooks
set ended_at = coalesce(ended_at, %(at)s)
where hook_id = %(hook_id)s
returning
    hook_id, account_id, license_id, public_id, previous_public_id, name, mapping, strategy, symbols, addresses,
    created_at, rotated_at, ended_at;
