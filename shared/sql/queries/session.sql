-- name: enter
-- Begins every transaction: whose rights and rows it has, and how long it and its statements may take.
begin;
select
    set_config('role', %(role)s, true),
    set_config('app.account_id', %(account_id)s, true),
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config('transaction_timeout', %(transaction_timeout)s, true),
    set_config('timezone', 'UTC', true);
