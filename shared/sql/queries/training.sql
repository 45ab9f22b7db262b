-- name: signals_to_settle
-- Undecided entry signals of a strategy in order of time, after a keyset, each with the bars of its horizon, which the feed has reached the end of unless it is overdue, as they are and, if any was corrected, as they first were; none if we had any of them before the signal, whose publisher then knew a part of the result. Quarantined bars, and bars without volume, decide nothing.
select
    signals.symbol, sequence, side, price, stop_price, target_price, event_at,
    coalesce(following.bars, '[]')::text as bars, following.first_bars::text as first_bars
from signals
join feeds using (symbol)
cross join lateral (
    select
        case when bool_and(bars.received_at >= signals.received_at) then
            json_agg(
                json_build_array(bars.open_time, bars.high::text, bars.low::text, bars.close::text)
                order by bars.open_time
            ) filter (where not quarantined and bars.volume > 0)
        end as bars,
        case when count(first.close) > 0 then
            json_agg(
                json_build_array(
                    bars.open_time, coalesce(first.high, bars.high)::text, coalesce(first.low, bars.low)::text,
                    coalesce(first.close, bars.close)::text
                )
                order by bars.open_time
            ) filter (where not quarantined and bars.volume > 0)
        end as first_bars
    from bars
    left join lateral (
        select high, low, close
        from bar_changes
        where bar_changes.symbol = bars.symbol and bar_changes.open_time = bars.open_time and close is not null
        order by change
        limit 1
    ) as first on true
    where bars.symbol = signals.symbol
        and bars.open_time >= signals.event_at
        and bars.open_time < signals.event_at + %(horizon)s
) as following
where strategy = %(strategy)s and kind = 'entry' and not settled
    and event_at <= %(before)s
    and (feeds.last_open_time >= event_at + %(last_bar)s or event_at < %(overdue)s)
    and (event_at, signals.symbol, sequence)
        > (%(after_event_at)s::timestamptz, %(after_symbol)s::text, %(after_sequence)s::bigint)
order by event_at, signals.symbol, sequence
limit %(limit)s;

-- name: settle
-- Stores the outcome of each signal; one without a known result is only marked.
with decided as (
    select *
    from json_to_recordset(%(decided)s::json) as decided (symbol text, sequence bigint, won boolean)
), marked as (
    update signals
    set settled = true
    from decided
    where signals.symbol = decided.symbol and signals.sequence = decided.sequence and not signals.settled
    returning
        signals.symbol, signals.sequence, signals.strategy, signals.side, signals.event_at,
        signals.features, decided.won
)
insert into signal_outcomes (symbol, sequence, strategy, side, event_at, features, won)
select symbol, sequence, strategy, side, event_at, features, won
from marked
where won is not null
on conflict do nothing;

-- name: outcomes
-- The newest decided signals of a strategy, oldest first. Each counts once, however many accounts traded it, so no account has a share.
select symbol, side, event_at as entry_at, event_at + %(horizon)s::interval as exit_at, features, won
from (
    select symbol, sequence, side, event_at, features, won
    from signal_outcomes
    where strategy = %(strategy)s and event_at <= %(before)s
    order by event_at desc, symbol, sequence
    limit %(limit)s
) as newest
order by event_at, symbol, sequence;

-- name: reported
-- What trades tell about a strategy's newest signals of symbols without a feed: one vote per account and signal, the earliest received that is not withdrawn; a trade has won if pnl exceeds fees; an account's votes weigh at most a part of all others' votes, and a signal at most 1.
with votes as (
    select vote.account_id, told.symbol, told.sequence, vote.won
    from signal_counters
    cross join lateral (
        select symbol, sequence, side, strategy, price, event_at, expires_at
        from signals
        where signals.symbol = signal_counters.symbol
            and strategy = %(strategy)s and kind = 'entry' and event_at <= %(before)s
        order by symbol, sequence desc
        limit %(limit)s
    ) as told
    -- Distinct within the lateral join, so that the planner looks up each signal's trades by the index.
    cross join lateral (
        select distinct on (account_id) account_id, pnl > fees as won
        from (
            select *
            from trades as following
            where following.symbol = told.symbol and following.signal_sequence = told.sequence
                and following.withdrawn_at is null
            limit %(followers)s
        ) as trades
        where trades.symbol = told.symbol and trades.signal_sequence = told.sequence
            and trades.side = told.side and trades.strategy = told.strategy
            and trades.entry_at >= told.event_at - %(fit_before)s::interval
            and trades.entry_at
                <= coalesce(told.expires_at, told.event_at + %(fit_default)s) + %(fit_after)s::interval
            and abs(trades.entry_price - told.price)
                <= greatest(%(fit_share)s * abs(told.price), %(fit_points)s)
        order by account_id, trades.received_at, trades.trade_id
    ) as vote
    where not exists (select from feeds where feeds.symbol = signal_counters.symbol)
), accounts as (
    select
        account_id,
        least(1.0, %(share)s * (sum(count(*)) over () - count(*)) / count(*))::double precision as weight
    from votes
    group by account_id
), weighed as (
    select
        sum(weight) as total,
        coalesce(sum(weight) filter (where won), 0) as won
    from votes
    join accounts using (account_id)
    where weight > 0
    group by symbol, sequence
)
select
    count(*) as signals,
    (select count(*) from accounts where weight > 0) as accounts,
    coalesce(sum(least(1, total)), 0) as weight,
    coalesce(sum(least(1, total) * won / total), 0) as wins
from weighed;
