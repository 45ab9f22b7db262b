-- name: of_accounts
-- A page of the accounts that reported trades since a day, and what they closed in a span of time, after fees.
with page as (
    select account_id from account_usage
    where account_id > %(after)s
    order by account_id
    limit %(limit)s
)
select account_id, closed.trades, closed.wins, closed.net_pnl
from page
cross join lateral (
    select count(*) as trades, count(*) filter (where pnl > fees) as wins, coalesce(sum(pnl - fees), 0) as net_pnl
    from trades
    where trades.account_id = page.account_id and exit_at >= %(since)s and exit_at < %(until)s
        and withdrawn_at is null
) as closed
order by account_id;
