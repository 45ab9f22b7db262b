-- name: add_counts
-- Adds to the counts of accounts on a day.
insert into misuse_days as stored (
    account_id, day, requests, limited, limited_hours,
    sessions_refused, sessions_taken_over, sessions_replaced
)
select account_id, %(day)s::date, requests, limited, limited_hours,
    sessions_refused, sessions_taken_over, sessions_replaced
from unnest(
    %(accounts)s::text[], %(requests)s::bigint[], %(limited)s::bigint[], %(limited_hours)s::integer[],
    %(sessions_refused)s::bigint[], %(sessions_taken_over)s::bigint[], %(sessions_replaced)s::bigint[]
) as added(
    account_id, requests, limited, limited_hours, sessions_refused, sessions_taken_over, sessions_replaced
)
on conflict (account_id, day) do update set
    requests = stored.requests + excluded.requests,
    limited = stored.limited + excluded.limited,
    limited_hours = stored.limited_hours | excluded.limited_hours,
    sessions_refused = stored.sessions_refused + excluded.sessions_refused,
    sessions_taken_over = stored.sessions_taken_over + excluded.sessions_taken_over,
    sessions_replaced = stored.sessions_replaced + excluded.sessions_replaced;

-- name: add_addresses
-- Adds addresses that used keys; those of other processes may be the same.
insert into misuse_addresses (account_id, day, public_id, address)
select * from unnest(
    %(accounts)s::text[], %(days)s::date[], %(public_ids)s::text[], %(addresses)s::bytea[]
)
on conflict do nothing;

-- name: list
-- Accounts since a day: those with the most figures above their thresholds first, then by how far they are above.
with days as (
    select account_id,
        max(sessions_refused + sessions_taken_over + sessions_replaced) as session_fights,
        max(bit_count(limited_hours::bit(24))) as limited_hours,
        coalesce(100 * sum(limited) / nullif(sum(limited) + sum(requests), 0), 0)::bigint as limited_percent
    from misuse_days
    where day >= %(since)s
    group by account_id
), addresses as (
    select account_id, max(addresses) as addresses_per_key
    from (
        select account_id, count(*) as addresses
        from misuse_addresses
        where day >= %(since)s
        group by account_id, day, public_id
    ) as keys
    group by account_id
), suspicious as (
    select account_id, count(*) as suspicious_trades
    from suspicious_trades
    where found_at >= %(since)s
    group by account_id
), figures as (
    select account_id,
        coalesce(addresses_per_key, 0) as addresses_per_key,
        coalesce(session_fights, 0) as session_fights,
        coalesce(limited_hours, 0) as limited_hours,
        coalesce(limited_percent, 0) as limited_percent,
        coalesce(suspicious_trades, 0) as suspicious_trades
    from days
    full join addresses using (account_id)
    full join suspicious using (account_id)
)
select account_id, addresses_per_key, session_fights, limited_hours, limited_percent, suspicious_trades
from figures
cross join lateral (
    values (addresses_per_key::numeric / %(addresses_per_key)s),
        (session_fights::numeric / %(session_fights)s),
        (limited_hours::numeric / %(limited_hours)s),
        (limited_percent::numeric / %(limited_percent)s),
        (suspicious_trades::numeric / %(suspicious_trades)s)
) as measured(ratio)
group by account_id, addresses_per_key, session_fights, limited_hours, limited_percent, suspicious_trades
order by count(*) filter (where ratio >= 1) desc, sum(least(ratio, 10)) desc, account_id
limit %(limit)s;
