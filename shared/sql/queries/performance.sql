-- name: take_turn
-- Whether the account may run a costly query in this transaction: at most two do so at once, over all processes.
select case
    when pg_try_advisory_xact_lock(hashtextextended('costly query 1 of ' || %(account_id)s, 0)) then true
    else pg_try_advisory_xact_lock(hashtextextended('costly query 2 of ' || %(account_id)s, 0))
end;

-- name: stale_days
-- The first of the account's days whose figures do not hold its trades as they are now, with about `limit` trades together, and at least one day.
select day
from (
    select day, sum(trades) over (order by day rows unbounded preceding) - trades as earlier
    from (
        select day, sum(trades) as trades
        from trade_days
        where account_id = %(account_id)s
            and day in (
                select day
                from trade_days
                where account_id = %(account_id)s and counted <> trades and day >= %(first)s and day < %(last)s
                order by day
                limit 1000
            )
        group by day
    ) as stale
) as counted
where earlier < %(limit)s
order by day;

-- name: mark_fresh
-- Marks rows of these days as counted, and locks them until the transaction ends. Run it before roll_up: a report or a withdrawal of a trade waits for the lock, and then makes the row stale again.
with chosen as (
    select day, symbol
    from trade_days
    where account_id = %(account_id)s and counted <> trades and day = any(%(days)s::date[])
    order by day, symbol
    for update
)
update trade_days
set counted = trades, stale = false
from chosen
where trade_days.account_id = %(account_id)s
    and trade_days.day = chosen.day
    and trade_days.symbol = chosen.symbol;

-- name: roll_up
-- Computes the figures of spans of time, each on one UTC day, from the trades. Stores those of whole days, and returns the others as a JSON array.
with spans as materialized (
    select *
    from unnest(
        %(days)s::date[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(whole)s::boolean[]
    ) as span (day, starts_at, ends_at, is_whole)
), chosen as (
    select
        day, is_whole, part.symbol, exit_at, trade_id, counts, pnl, fees, pnl - fees as net,
        (pnl > fees)::integer as won,
        -- Decimals add up exactly, in any order; twenty places are more than a figure shows.
        round(confidence::text::numeric, 20) as confidence,
        least(floor(confidence * 10), 9) as bin
    from spans
    -- `offset 0` keeps the planner from joining all trades of the account; the constants limit the months that it
    -- plans and locks.
    cross join lateral (
        -- A withdrawn trade counts as nothing. It is not left out, because a day of which all trades are withdrawn
        -- needs figures too, in place of its former ones.
        select
            symbol, exit_at, trade_id, (withdrawn_at is null)::integer as counts,
            case when withdrawn_at is null then pnl else 0 end as pnl,
            case when withdrawn_at is null then fees else 0 end as fees,
            case when withdrawn_at is null then confidence end as confidence
        from trades
        where account_id = %(account_id)s
            and exit_at >= starts_at and exit_at < ends_at
            and exit_at >= %(first_exit_at)s and exit_at < %(last_exit_at)s
        offset 0
    ) as its_trades
    cross join lateral (values (its_trades.symbol::text), ('')) as part (symbol)
), summed as (
    select *, sum(net) over so_far as total
    from chosen
    window so_far as (partition by day, symbol order by exit_at, trade_id rows unbounded preceding)
), peaked as (
    select *, greatest(max(total) over so_far, 0) as peak
    from summed
    window so_far as (partition by day, symbol order by exit_at, trade_id rows unbounded preceding)
), figures as (
    select
        %(account_id)s::text as account_id,
        day,
        symbol,
        sum(counts) as trades,
        sum(won) as wins,
        count(*) filter (where net < 0) as losses,
        sum(pnl) as pnl,
        sum(fees) as fees,
        coalesce(sum(net) filter (where net > 0), 0) as won,
        coalesce(sum(net) filter (where net < 0), 0) as lost,
        max(peak) as peak,
        min(total) as low,
        max(peak - total) as drawdown,
        count(confidence) as scored,
        coalesce(sum((confidence - peaked.won) * (confidence - peaked.won)), 0) as squares,
        array[
            coalesce(sum(confidence - peaked.won) filter (where bin = 0), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 1), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 2), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 3), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 4), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 5), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 6), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 7), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 8), 0),
            coalesce(sum(confidence - peaked.won) filter (where bin = 9), 0)
        ] as gaps,
        bool_and(is_whole) as is_whole
    from peaked
    group by day, symbol
), stored as (
    insert into trade_day_figures
    select
        account_id, day, symbol, trades, wins, losses, pnl, fees, won, lost, peak, low, drawdown, scored, squares,
        gaps
    from figures
    where is_whole
    on conflict (account_id, day, symbol) do update
    set
        trades = excluded.trades, wins = excluded.wins, losses = excluded.losses, pnl = excluded.pnl,
        fees = excluded.fees, won = excluded.won, lost = excluded.lost, peak = excluded.peak,
        low = excluded.low, drawdown = excluded.drawdown, scored = excluded.scored,
        squares = excluded.squares, gaps = excluded.gaps
)
select coalesce(json_agg(figures) filter (where not is_whole), '[]')::text from figures;

-- name: performance
-- An account's figures from those of its days, overall (symbol '') and by symbol. `parts` are the figures of parts of days, as roll_up returns them. Drawdown is the largest fall of cumulative net pnl below its highest value, at least 0.
with days as (
    select *
    from trade_day_figures
    where account_id = %(account_id)s and day >= %(first)s and day < %(last)s
        and (%(symbol)s::text is null or symbol = %(symbol)s::text)
    union all
    select *
    from json_populate_recordset(null::trade_day_figures, %(parts)s::json)
    where %(symbol)s::text is null or symbol = %(symbol)s::text
), placed as (
    select *, sum(pnl - fees) over so_far - (pnl - fees) as start
    from days
    window so_far as (partition by symbol order by day rows unbounded preceding)
), peaked as (
    -- The highest value before the day; the curve starts at 0.
    select *, greatest(max(start + peak) over before_it, 0) as former_peak
    from placed
    window before_it as (partition by symbol order by day rows between unbounded preceding and 1 preceding)
)
select
    symbol,
    sum(trades)::bigint as trades,
    sum(wins)::bigint as wins,
    sum(pnl) as pnl,
    sum(fees) as fees,
    sum(pnl - fees) as net_pnl,
    round(sum(won) / nullif(sum(wins), 0), 8) as average_win,
    round(sum(lost) / nullif(sum(losses), 0), 8) as average_loss,
    max(greatest(drawdown, former_peak - start - low)) as max_drawdown,
    sum(scored)::bigint as scored,
    sum(squares)::double precision / nullif(sum(scored), 0)::double precision as brier,
    (
        abs(sum(gaps[1])) + abs(sum(gaps[2])) + abs(sum(gaps[3])) + abs(sum(gaps[4])) + abs(sum(gaps[5]))
        + abs(sum(gaps[6])) + abs(sum(gaps[7])) + abs(sum(gaps[8])) + abs(sum(gaps[9])) + abs(sum(gaps[10]))
    )::double precision / nullif(sum(scored), 0)::double precision as ece
from peaked
group by symbol
-- Without trades that count, an account looks as if it had none.
having sum(trades) > 0
order by symbol;
