-- name: enter
-- Begins a transaction and sets its role, its account, and the time limits of it and its statements.
begin;
select
    set_config('role', %(role)s, true),
    set_config('app.account_id', %(account_id)s, true),
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config('transaction_timeout', %(transaction_timeout)s, true),
    set_config('timezone', 'UTC', true);

-- name: in_recovery
-- Whether this server replays another server's changes, and so accepts no writes.
select pg_is_in_recovery();
