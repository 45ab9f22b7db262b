-- name: record_trades
-- Stores the trades with unused trade_ids and returns these with their bytes. Ordered, so that two reports cannot deadlock.
with input as materialized (
    select *
    from json_to_recordset(%(trades)s::json) as reported (
        trade_id text, symbol text, side text, strategy text, quantity numeric,
        entry_price numeric, exit_price numeric, entry_at timestamptz, exit_at timestamptz,
        pnl numeric, fees numeric, signal_sequence bigint, confidence double precision,
        model_version text, features jsonb
    )
), taken as (
    insert into trade_ids (account_id, trade_id, exit_at)
    select %(account_id)s, trade_id, exit_at
    from input
    order by trade_id
    on conflict do nothing
    returning trade_id
)
insert into trades (
    account_id, trade_id, key_public_id, symbol, side, strategy, quantity, entry_price, exit_price,
    entry_at, exit_at, pnl, fees, signal_sequence, confidence, model_version, features
)
select
    %(account_id)s, trade_id, %(key_public_id)s, symbol, side, strategy, quantity, entry_price, exit_price,
    entry_at, exit_at, pnl, fees, signal_sequence, confidence, model_version, features
from input
join taken using (trade_id)
returning trade_id, pg_column_size(trades.*);

-- name: usage
-- What an account has stored, how many trades on the present UTC day, and the seconds to the end of this day.
select
    case when day = (now() at time zone 'UTC')::date then day_trades else 0 end as trades_today,
    stored_trades, stored_bytes,
    extract(epoch from date_trunc('day', now(), 'UTC') + interval '1 day' - now())::double precision
from account_usage
where account_id = %(account_id)s;

-- name: unused_trade_ids
-- Those of the reported trade_ids that the account has not used before.
select reported.trade_id
from unnest(%(trade_ids)s::text[]) as reported (trade_id)
-- The key is unique, so the limit changes no result. It makes the planner look up each trade_id by the index.
left join lateral (
    select true as is_used
    from trade_ids
    where account_id = %(account_id)s and trade_id = reported.trade_id
    limit 1
) as known on true
where known.is_used is null;

-- name: count_trades
-- Adds new trades to the account's days, whose figures then lack them, and to its usage, and returns what `usage` does. Ordered, so that two reports cannot deadlock.
with counted as (
    insert into trade_days (account_id, day, symbol, trades)
    select %(account_id)s, day, symbol, trades
    from unnest(%(days)s::date[], %(symbols)s::text[], %(counts)s::bigint[]) as reported (day, symbol, trades)
    order by day, symbol
    on conflict (account_id, day, symbol) do update
    set trades = trade_days.trades + excluded.trades, stale = true
)
insert into account_usage as usage (account_id, stored_trades, stored_bytes, day, day_trades)
values (
    %(account_id)s, %(trades)s::bigint, %(bytes)s::bigint, (now() at time zone 'UTC')::date,
    case when %(counts_today)s::boolean then %(trades)s::bigint else 0 end
)
on conflict (account_id) do update
set
    stored_trades = usage.stored_trades + excluded.stored_trades,
    stored_bytes = usage.stored_bytes + excluded.stored_bytes,
    day = greatest(usage.day, excluded.day),
    day_trades = excluded.day_trades + case when usage.day < excluded.day then 0 else usage.day_trades end
returning
    day_trades, stored_trades, stored_bytes,
    extract(epoch from date_trunc('day', now(), 'UTC') + interval '1 day' - now())::double precision;

-- name: same_trades
-- For reported trades whose trade_id was used: whether each equals the stored one, and whether that is withdrawn, in the order of the report.
select
    (stored.symbol, stored.side, stored.strategy, stored.quantity, stored.entry_price, stored.exit_price,
     stored.entry_at, stored.exit_at, stored.pnl, stored.fees, stored.signal_sequence, stored.confidence,
     stored.model_version, stored.features)
    is not distinct from
    (reported.symbol, reported.side, reported.strategy, reported.quantity, reported.entry_price,
     reported.exit_price, reported.entry_at, reported.exit_at, reported.pnl, reported.fees,
     reported.signal_sequence, reported.confidence, reported.model_version, reported.features) as is_same,
    stored.withdrawn_at is not null as is_withdrawn
from rows from (
    json_to_recordset(%(trades)s::json) as (
        trade_id text, symbol text, side text, strategy text, quantity numeric,
        entry_price numeric, exit_price numeric, entry_at timestamptz, exit_at timestamptz,
        pnl numeric, fees numeric, signal_sequence bigint, confidence double precision,
        model_version text, features jsonb
    )
) with ordinality as reported (
    trade_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at, exit_at, pnl, fees,
    signal_sequence, confidence, model_version, features, place
)
-- The keys are unique, so the limits change no result. They prevent the planner from joining all trades of the
-- account, which it does if statistics are old, and which takes seconds. A trade with another exit time is not the
-- same, so only the months of the report are planned and locked: of a trade in another month, the answer is that it is
-- neither the same nor withdrawn.
left join lateral (
    select exit_at
    from trade_ids
    where account_id = %(account_id)s and trade_id = reported.trade_id
    limit 1
) as taken on true
left join lateral (
    select *
    from trades
    where account_id = %(account_id)s and exit_at = taken.exit_at and trade_id = reported.trade_id
        and exit_at >= %(from_month)s and exit_at < %(to_month)s
    limit 1
) as stored on true
order by reported.place;

-- name: ensure_partitions
-- Creates at most two partitions, of recent months of these times.
select ensure_trade_partitions(%(times)s::timestamptz[]);

-- name: days_of_page
-- The first and the last UTC day with trades of a page that ends before a day: together these days fill it. Each row of trade_days has a trade, so `limit` rows suffice.
select min(day), max(day)
from (
    select day, sum(trades) over (order by day desc, symbol rows unbounded preceding) - trades as later
    from (
        select day, symbol, trades
        from trade_days
        where account_id = %(account_id)s
            and day < %(before_day)s
            and (%(symbol)s::text is null or symbol = %(symbol)s::text)
        order by day desc, symbol
        limit %(limit)s
    ) as latest
) as counted
where later < %(limit)s;

-- name: page_of_trades
-- An account's trades, latest exit first, before a keyset. Only one upper bound: an index scan would begin at a second one, and not at the keyset.
select
    trade_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at, exit_at, pnl, fees,
    signal_sequence, confidence, model_version, features, received_at, withdrawn_at
from trades
where account_id = %(account_id)s
    and exit_at >= coalesce(%(since)s::timestamptz, '-infinity')
    and exit_at <= coalesce(%(before_exit_at)s::timestamptz, 'infinity')
    and (exit_at, trade_id) < (coalesce(%(before_exit_at)s::timestamptz, 'infinity'), %(before_trade_id)s::text)
order by exit_at desc, trade_id desc
limit %(limit)s;

-- name: page_of_symbol
-- The same of one symbol. A query of its own, because a plan for every symbol and for none cannot use the symbol's index.
select
    trade_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at, exit_at, pnl, fees,
    signal_sequence, confidence, model_version, features, received_at, withdrawn_at
from trades
where account_id = %(account_id)s
    and symbol = %(symbol)s::text
    and exit_at >= coalesce(%(since)s::timestamptz, '-infinity')
    and exit_at <= coalesce(%(before_exit_at)s::timestamptz, 'infinity')
    and (exit_at, trade_id) < (coalesce(%(before_exit_at)s::timestamptz, 'infinity'), %(before_trade_id)s::text)
order by exit_at desc, trade_id desc
limit %(limit)s;

-- name: exit_of_trade
-- When the account's trade of a trade_id exited, which is the key of its month.
select exit_at
from trade_ids
where account_id = %(account_id)s and trade_id = %(trade_id)s;

-- name: withdraw_trade
-- Marks a trade as withdrawn, unless it is or was received before a time, and makes the figures of its day stale.
with withdrawn as (
    update trades
    set withdrawn_at = now()
    where account_id = %(account_id)s and exit_at = %(exit_at)s and trade_id = %(trade_id)s
        and withdrawn_at is null and received_at >= %(received_from)s
    returning symbol, exit_at, received_at, withdrawn_at
), marked as (
    update trade_days
    set counted = 0, stale = true
    from withdrawn
    where trade_days.account_id = %(account_id)s
        and trade_days.day = (withdrawn.exit_at at time zone 'UTC')::date
        and trade_days.symbol = withdrawn.symbol
)
select received_at, withdrawn_at, true from withdrawn;

-- name: receipt_of_trade
-- The same columns for a trade that was not withdrawn just now.
select received_at, withdrawn_at, false
from trades
where account_id = %(account_id)s and exit_at = %(exit_at)s and trade_id = %(trade_id)s;
