-- Bars that came after a bar of a later minute, and bars that the engine does not use because their prices are
-- too far from those around them.
alter table bars
    add column late boolean not null default false,
    add column quarantined boolean not null default false;
create index bars_quarantined on bars (symbol, open_time) where quarantined;

-- A correction changes what was traded, but never when we first received the minute: that time keeps signals
-- from training whose publisher knew their result.
grant update (open, high, low, close, volume, source, quarantined) on bars to signal_functions;

-- Changes to the past of a symbol's bars, in the order in which they were committed. A correction has the
-- content that it replaced. A row without content says that bars came late, from `open_time` on.
create table bar_changes (
    symbol symbol not null,
    change bigint not null generated always as identity,
    open_time timestamptz not null,
    open price,
    high price,
    low price,
    close price,
    volume bigint,
    source text,
    changed_at timestamptz not null,
    check (num_nonnulls(open, high, low, close, volume, source) in (0, 6)),
    primary key (symbol, change)
);
comment on index bar_changes_pkey is 'Prevents an engine from taking two changes for one.';

create index bar_changes_open_time on bar_changes (symbol, open_time);

grant select, insert on bar_changes to signal_functions;
grant select, delete on bar_changes to signal_jobs;

-- The last change that the engine has taken in, and its state at the start of the recent sessions.
alter table engine_state
    add column last_change bigint not null default 0,
    add column checkpoints bytea check (length(checkpoints) <= 1048576);

-- The engine asks for the signals that it published in the time of late and corrected bars.
create index signals_event_at on signals (symbol, strategy, event_at);
