-- name: store_bars
-- Stores each minute, or the correction of its content, and what it replaces; puts the newest into feeds. The row of feeds is locked first, so a symbol's bars are stored by one transaction at a time, and its changes are committed in order. Returns how many minutes are new, how many versions were replaced, and how many new minutes are late.
with sent as (
    select *
    from json_to_recordset(%(bars)s::json) as sent (
        open_time timestamptz, open numeric, high numeric, low numeric, close numeric, volume bigint, late boolean
    )
), feed as (
    insert into feeds as known (symbol, last_open_time, last_received_at, source)
    select %(symbol)s, max(open_time), %(received_at)s, %(source)s
    from sent
    having count(*) > 0
    on conflict (symbol) do update set
        last_open_time = greatest(known.last_open_time, excluded.last_open_time),
        last_received_at = case
            when excluded.last_open_time > known.last_open_time then excluded.last_received_at
            else known.last_received_at
        end,
        source = case
            when excluded.last_open_time > known.last_open_time then excluded.source else known.source
        end
    returning old.last_open_time as newest
), stored as (
    insert into bars as known (symbol, open_time, open, high, low, close, volume, source, received_at, late)
    select
        %(symbol)s, open_time, open, high, low, close, volume, %(source)s, %(received_at)s,
        late or coalesce(open_time < newest, false)
    from feed
    cross join sent
    order by open_time
    on conflict (symbol, open_time) do update set
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, source = excluded.source
    where (known.open, known.high, known.low, known.close, known.volume)
        is distinct from (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
    returning
        new.open_time, new.late, old.open_time is not null as is_correction,
        old.open, old.high, old.low, old.close, old.volume, old.source
), replaced as (
    select 0 as version, open_time, open, high, low, close, volume, source
    from stored
    where is_correction
    union all
    select version, open_time, earlier.open, earlier.high, earlier.low, earlier.close, earlier.volume, %(source)s
    from stored
    join json_to_recordset(%(replaced)s::json) as earlier (
        version integer, open_time timestamptz, open numeric, high numeric, low numeric, close numeric,
        volume bigint
    ) using (open_time)
    -- The first version of the body may be the stored one again.
    where version > 1 or (earlier.open, earlier.high, earlier.low, earlier.close, earlier.volume)
        is distinct from (stored.open, stored.high, stored.low, stored.close, stored.volume)
), changed as (
    insert into bar_changes (symbol, open_time, open, high, low, close, volume, source, changed_at)
    select %(symbol)s, open_time, open, high, low, close, volume, source, %(received_at)s
    from (
        select * from replaced
        union all
        select 0, min(open_time), null, null, null, null, null, null
        from stored
        where late and not is_correction
        having count(*) > 0
    ) as every
    order by open_time, version
    returning open
)
select
    (select count(*) from stored where not is_correction) as inserted,
    (select count(*) from changed where open is not null) as corrected,
    (select count(*) from stored where late and not is_correction) as late;

-- name: lock_engine
-- The engine's state for a symbol and strategy, locked until the end of the transaction, with the last of the changes that it has not taken in and the earliest minute that they concern.
with unseen as (
    select max(change) as last_change, min(open_time) as changed_from
    from bar_changes
    where symbol = %(symbol)s and change > coalesce(
        (select last_change from engine_state where symbol = %(symbol)s and strategy = %(strategy)s), 0
    )
)
insert into engine_state as known (symbol, strategy)
values (%(symbol)s, %(strategy)s)
on conflict (symbol, strategy) do update set symbol = known.symbol
returning
    state, last_open_time, last_change, (select last_change from unseen) as unseen_change,
    (select changed_from from unseen) as changed_from;

-- name: bars_after
-- A symbol's bars that begin after a time, or all of them, oldest first.
select open_time, open, high, low, close, volume, source, received_at, late, quarantined
from bars
where symbol = %(symbol)s and open_time > coalesce(%(after)s::timestamptz, '-infinity')
order by open_time
limit %(limit)s;

-- name: arrivals
-- The bars of a span of time, as far as their arrival matters, oldest first.
select open_time, late, received_at, source
from bars
where symbol = %(symbol)s and open_time >= %(first)s and open_time < %(until)s
order by open_time;

-- name: is_unchanged
-- Whether no change of a symbol's bars follows the one that the engine has taken in.
select not exists (select from bar_changes where symbol = %(symbol)s and change > %(last_change)s);

-- name: checkpoints
-- The engine's states at the start of the recent sessions.
select checkpoints from engine_state where symbol = %(symbol)s and strategy = %(strategy)s;

-- name: published
-- The entries that a strategy has published for a span of time, with their idempotency keys.
select sequence, idempotency_key, side, price, stop_price, target_price, event_at, features
from signals
where symbol = %(symbol)s and strategy = %(strategy)s and event_at >= %(first)s and event_at <= %(last)s
    and kind = 'entry' and idempotency_key is not null
order by event_at, sequence;

-- name: mark_bars
-- Puts bars into quarantine, or releases them.
update bars
set quarantined = marked.quarantined
from unnest(%(open_times)s::timestamptz[], %(quarantined)s::boolean[]) as marked (open_time, quarantined)
where bars.symbol = %(symbol)s and bars.open_time = marked.open_time;

-- name: count_quarantined
-- How many of some bars are in quarantine.
select count(*)
from bars
where symbol = %(symbol)s and quarantined and open_time = any(%(open_times)s::timestamptz[]);

-- name: save_engine
-- Saves the engine's progress; lock_engine has locked the row. Checkpoints stay if there are no new ones.
update engine_state
set state = %(state)s, last_open_time = %(last_open_time)s, last_change = %(last_change)s,
    checkpoints = coalesce(%(checkpoints)s, checkpoints), updated_at = now()
where symbol = %(symbol)s and strategy = %(strategy)s;

-- name: feeds
-- The newest bar of every symbol.
select symbol, last_open_time, last_received_at, source from feeds order by symbol;

-- name: newest_bars
-- For each symbol, its newest bar in some spans of time; no row without one.
select distinct on (asked.symbol)
    asked.symbol, newest.open_time as last_open_time, newest.received_at as last_received_at, newest.source
from unnest(%(symbols)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
    as asked (symbol, first, last)
cross join lateral (
    select open_time, received_at, source
    from bars
    where bars.symbol = asked.symbol and open_time >= asked.first and open_time <= asked.last
    order by open_time desc
    limit 1
) as newest
order by asked.symbol, newest.open_time desc;

-- name: coverage
-- For each symbol and span of time: its bars, the first minute after a bar that has none, and its quarantined bars of the last day.
select
    asked.symbol, coalesce(found.bars, 0) as bars, found.first_missing,
    (
        select count(*)
        from bars
        where bars.symbol = asked.symbol and quarantined and open_time > asked.last - interval '1 day'
    ) as quarantined
from unnest(%(symbols)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
    as asked (symbol, first, last)
left join lateral (
    select
        count(*) as bars,
        case
            when min(open_time) > asked.first then asked.first
            else min(open_time + interval '1 minute') filter (where next_time > open_time + interval '1 minute')
        end as first_missing
    from (
        select open_time, lead(open_time) over (order by open_time) as next_time
        from bars
        where bars.symbol = asked.symbol and open_time >= asked.first and open_time <= asked.last
    ) as bars
) as found on true
order by asked.symbol;

-- name: behind
-- The symbols that have bars, or changes of bars, which the strategy's engine has not processed.
select feeds.symbol
from feeds
left join engine_state
    on engine_state.symbol = feeds.symbol and engine_state.strategy = %(strategy)s
left join lateral (
    select change from bar_changes where bar_changes.symbol = feeds.symbol order by change desc limit 1
) as newest on true
where engine_state.last_open_time is null or engine_state.last_open_time < feeds.last_open_time
    or engine_state.last_change < newest.change
order by feeds.symbol;
