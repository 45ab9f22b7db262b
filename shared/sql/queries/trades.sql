-- name: record_trades
-- Stores the trades with unused trade_ids and returns these. Ordered, so that two reports cannot deadlock.
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
returning trade_id;

-- name: same_trades
-- For reported trades whose trade_id was used: whether each equals the stored one, in the order of the report.
select
    (stored.symbol, stored.side, stored.strategy, stored.quantity, stored.entry_price, stored.exit_price,
     stored.entry_at, stored.exit_at, stored.pnl, stored.fees, stored.signal_sequence, stored.confidence,
     stored.model_version, stored.features)
    is not distinct from
    (reported.symbol, reported.side, reported.strategy, reported.quantity, reported.entry_price,
     reported.exit_price, reported.entry_at, reported.exit_at, reported.pnl, reported.fees,
     reported.signal_sequence, reported.confidence, reported.model_version, reported.features)
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
-- account, which it does if statistics are old, and which takes seconds.
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
    limit 1
) as stored on true
order by reported.place;

-- name: ensure_partitions
-- Creates the partitions of the months of these times.
select ensure_trade_partitions(%(times)s::timestamptz[]);

-- name: page_of_trades
-- An account's trades, latest exit first, before a keyset. Only one upper bound: an index scan would begin at a second one, and not at the keyset.
select
    trade_id, symbol, side, strategy, quantity, entry_price, exit_price, entry_at, exit_at, pnl, fees,
    signal_sequence, confidence, model_version, features, received_at
from trades
where account_id = %(account_id)s
    and exit_at >= coalesce(%(since)s::timestamptz, '-infinity')
    and exit_at <= coalesce(%(before_exit_at)s::timestamptz, 'infinity')
    and (exit_at, trade_id) < (coalesce(%(before_exit_at)s::timestamptz, 'infinity'), %(before_trade_id)s::text)
    and (%(symbol)s::text is null or symbol = %(symbol)s::text)
order by exit_at desc, trade_id desc
limit %(limit)s;

-- name: performance
-- An account's figures, overall (symbol is null) and by symbol; drawdown is the largest fall of cumulative pnl below its highest value, at least 0.
with chosen as (
    select
        symbol, exit_at, trade_id, pnl, fees, pnl > 0 as won,
        -- The square of a smaller value would be an error (underflow); 0 changes no figure.
        case when confidence < 1e-100 then 0 else confidence end as confidence
    from trades
    where account_id = %(account_id)s
        and exit_at >= coalesce(%(since)s::timestamptz, '-infinity')
        and exit_at < coalesce(%(until)s::timestamptz, 'infinity')
        and (%(symbol)s::text is null or symbol = %(symbol)s::text)
), summed as (
    select
        *,
        sum(pnl) over everything as total,
        sum(pnl) over its_symbol as symbol_total
    from chosen
    window
        everything as (order by exit_at, trade_id rows unbounded preceding),
        its_symbol as (partition by symbol order by exit_at, trade_id rows unbounded preceding)
), fallen as (
    select
        *,
        greatest(max(total) over everything, 0) - total as below,
        greatest(max(symbol_total) over its_symbol, 0) - symbol_total as symbol_below
    from summed
    window
        everything as (order by exit_at, trade_id rows unbounded preceding),
        its_symbol as (partition by symbol order by exit_at, trade_id rows unbounded preceding)
), figures as (
    select
        symbol,
        count(*) as trades,
        count(*) filter (where won) as wins,
        sum(pnl) as pnl,
        sum(fees) as fees,
        round(avg(pnl) filter (where won), 8) as average_win,
        round(avg(pnl) filter (where pnl < 0), 8) as average_loss,
        case when grouping(symbol) = 1 then max(below) else max(symbol_below) end as max_drawdown,
        count(confidence) as scored,
        avg((confidence - won::integer) ^ 2) as brier
    from fallen
    group by grouping sets ((), (symbol))
), bins as (
    select
        symbol,
        abs(sum(confidence) - count(*) filter (where won)) as gap
    from chosen
    where confidence is not null
    group by grouping sets (
        (least(floor(confidence * 10), 9)),
        (symbol, least(floor(confidence * 10), 9))
    )
), calibration as (
    select symbol, sum(gap) as gaps from bins group by symbol
)
select
    figures.symbol, trades, wins, coalesce(pnl, 0) as pnl, coalesce(fees, 0) as fees, average_win,
    average_loss, coalesce(max_drawdown, 0) as max_drawdown, scored, brier, gaps / nullif(scored, 0) as ece
from figures
left join calibration on calibration.symbol is not distinct from figures.symbol
order by figures.symbol nulls first;
