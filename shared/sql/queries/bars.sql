-- name: insert_bars
-- Stores the new bars and puts the symbol's newest into feeds; returns how many were new.
with input as (
    select *
    from json_to_recordset(%(bars)s::json) as sent (
        open_time timestamptz, open numeric, high numeric, low numeric, close numeric, volume bigint
    )
), inserted as (
    insert into bars (symbol, open_time, open, high, low, close, volume, source, received_at)
    select %(symbol)s, open_time, open, high, low, close, volume, %(source)s, %(received_at)s
    from input
    order by open_time
    on conflict do nothing
    returning open_time
), newest as (
    insert into feeds as known (symbol, last_open_time, last_received_at, source)
    select %(symbol)s, max(open_time), %(received_at)s, %(source)s
    from inserted
    having count(*) > 0
    on conflict (symbol) do update set
        last_open_time = excluded.last_open_time,
        last_received_at = excluded.last_received_at,
        source = excluded.source
    where excluded.last_open_time > known.last_open_time
)
select count(*) from inserted;

-- name: lock_engine
-- The engine's state for a symbol and strategy, locked until the end of the transaction.
insert into engine_state as known (symbol, strategy)
values (%(symbol)s, %(strategy)s)
on conflict (symbol, strategy) do update set symbol = known.symbol
returning state, last_open_time;

-- name: bars_after
-- A symbol's bars that begin after a time, or all of them, oldest first.
select open_time, open, high, low, close, volume, source, received_at
from bars
where symbol = %(symbol)s and open_time > coalesce(%(after)s::timestamptz, '-infinity')
order by open_time
limit %(limit)s;

-- name: save_engine
-- Saves the engine's progress; lock_engine has locked the row.
update engine_state
set state = %(state)s, last_open_time = %(last_open_time)s, updated_at = now()
where symbol = %(symbol)s and strategy = %(strategy)s;

-- name: feeds
-- The newest bar of every symbol.
select symbol, last_open_time, last_received_at, source from feeds order by symbol;

-- name: behind
-- The symbols that have bars which the strategy's engine has not processed.
select feeds.symbol
from feeds
left join engine_state
    on engine_state.symbol = feeds.symbol and engine_state.strategy = %(strategy)s
where engine_state.last_open_time is null or engine_state.last_open_time < feeds.last_open_time
order by feeds.symbol;
