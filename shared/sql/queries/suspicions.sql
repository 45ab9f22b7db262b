-- name: find
-- Lists trades of lately published signals, and of signals that do not exist, which do not fit what they claim; the newest few for each account and reason.
with recursive traded as (
    (select symbol from trades where signal_sequence is not null order by symbol limit 1)
    union all
    select (
        select trades.symbol
        from trades
        where trades.signal_sequence is not null and trades.symbol > traded.symbol
        order by trades.symbol
        limit 1
    )
    from traded
    where traded.symbol is not null
), claimed as (
    select trades.account_id, trades.trade_id, trades.symbol, signal_sequence, exit_at, received_at,
        'unknown_signal' as reason
    from traded
    left join signal_counters using (symbol)
    cross join lateral (
        select account_id, trade_id, symbol, signal_sequence, exit_at, received_at
        from trades as claiming
        where claiming.symbol = traded.symbol
            and claiming.withdrawn_at is null
            and claiming.signal_sequence > coalesce(signal_counters.last_sequence, 0)
        order by claiming.symbol desc, claiming.signal_sequence desc
        limit %(most)s
    ) as trades
    union all
    select trades.account_id, trades.trade_id, trades.symbol, signal_sequence, exit_at, trades.received_at,
        case
            when signals.kind <> 'entry' or trades.side <> signals.side
                or trades.strategy <> signals.strategy then 'other_signal'
            when trades.entry_at < signals.event_at - %(fit_before)s::interval
                or trades.entry_at
                    > coalesce(signals.expires_at, signals.event_at + %(fit_default)s) + %(fit_after)s::interval
                then 'entry_time'
            when abs(trades.entry_price - signals.price)
                > greatest(%(fit_share)s * abs(signals.price), %(fit_points)s) then 'entry_price'
            when trades.pnl > trades.fees and (exit_price - entry_price)
                * case trades.side when 'LONG' then 1 else -1 end <= 0 then 'win_without_gain'
            when trades.pnl > trades.fees and (exit_price < around.lowest - %(fit_points)s
                or exit_price > around.highest + %(fit_points)s) then 'exit_price'
        end as reason
    from signals
    -- With the limit, the planner looks up each signal's trades by the index, and a flood on one signal costs no more.
    cross join lateral (
        select *
        from trades as following
        where following.symbol = signals.symbol and following.signal_sequence = signals.sequence
            and following.withdrawn_at is null
        limit %(followers)s
    ) as trades
    left join lateral (
        select min(low) as lowest, max(high) as highest
        from bars
        where trades.pnl > trades.fees and bars.symbol = trades.symbol
            and open_time >= exit_at - %(fit_before)s::interval - interval '1 minute'
            and open_time <= exit_at + %(fit_after)s::interval
    ) as around on true
    where signals.received_at >= %(since)s
), volumes as (
    select account_id, count(*) as trades from claimed group by account_id
), listed as (
    select * from claimed where reason is not null
    union all
    select account_id, trade_id, symbol, signal_sequence, exit_at, received_at, 'volume'
    from claimed
    join volumes using (account_id)
    where trades >= %(least)s
        and trades > %(times)s * (
            select percentile_disc(0.5) within group (order by others.trades) from volumes as others
        )
), ranked as (
    select
        *,
        count(*) over (partition by account_id, reason) as trades,
        row_number() over (partition by account_id, reason order by received_at desc, trade_id) as place
    from listed
)
insert into suspicious_trades (
    account_id, trade_id, reason, symbol, signal_sequence, exit_at, trades, found_at
)
select account_id, trade_id, reason, symbol, signal_sequence, exit_at, trades, %(now)s
from ranked
where place <= %(shown)s
order by account_id, trade_id, reason
on conflict do nothing;

-- name: forget
-- Deletes a bounded number of entries that were found before a time.
delete from suspicious_trades
where ctid = any (array(
    select ctid from suspicious_trades where found_at < %(before)s order by found_at limit %(limit)s
));

-- name: list
-- The newest entry of each account, then the second newest of each, and so on: no account hides another.
with recursive accounts as (
    (select account_id from suspicious_trades order by account_id limit 1)
    union all
    select (
        select suspicious_trades.account_id
        from suspicious_trades
        where suspicious_trades.account_id > accounts.account_id
        order by suspicious_trades.account_id
        limit 1
    )
    from accounts
    where accounts.account_id is not null
)
select account_id, trade_id, symbol, signal_sequence, reason, trades, exit_at, found_at
from accounts
cross join lateral (
    select
        trade_id, symbol, signal_sequence, reason, trades, exit_at, found_at,
        row_number() over (order by found_at desc, trade_id, reason) as place
    from suspicious_trades
    where suspicious_trades.account_id = accounts.account_id
    order by found_at desc, trade_id, reason
    limit %(limit)s
) as newest
order by place, found_at desc, account_id
limit %(limit)s;
