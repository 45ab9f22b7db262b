-- Licenses whose signals come late. Their connections are in groups of their own, and the relay sends each message
-- of the outbox to the groups of every delay that was ever asked for, once it is due there. So a signal costs no
-- further row, and its publication nothing.

-- The delays that licenses have asked for, in seconds.
create table signal_delays (
    delay_s integer primary key check (delay_s between 1 and 86400),
    created_at timestamptz not null default now()
);
comment on index signal_delays_pkey is 'Prevents a delay from being sent twice.';

-- What was last sent to the group of a symbol and a delay. Without a row, nothing was.
create table delayed_feeds (
    delay_s integer not null references signal_delays,
    symbol symbol not null,
    last_sequence bigint not null check (last_sequence >= 0),
    primary key (delay_s, symbol)
);
comment on index delayed_feeds_pkey is 'Prevents a group from having two places in its symbol''s sequence.';

grant select, insert on signal_delays to signal_functions;
grant select, insert on delayed_feeds to signal_functions;
grant update (last_sequence) on delayed_feeds to signal_functions;
