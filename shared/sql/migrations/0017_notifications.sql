-- What somebody may be notified of, once each. `fanned_out_at` is null until the timer has decided who is notified.
create table notification_events (
    event_id text primary key check (length(event_id) between 1 and 200),
    kind text not null check (length(kind) between 1 and 64),
    at timestamptz not null check (isfinite(at)),
    account_id text check (length(account_id) between 1 and 64),
    license_id text check (length(license_id) between 1 and 64),
    shown jsonb not null check (jsonb_typeof(shown) = 'object' and length(shown::text) <= 16384),
    received_at timestamptz not null default clock_timestamp(),
    fanned_out_at timestamptz
);
comment on index notification_events_pkey is
    'Prevents one event from being notified twice, however often it is reported.';

create index notification_events_new on notification_events (received_at) where fanned_out_at is null;
create index notification_events_account on notification_events (account_id) where account_id is not null;
create index notification_events_received_at on notification_events (received_at);

-- The addresses that customers want to be notified at. `sealed` holds address and secrets, encrypted under the key named
-- `sealed_by`; `address` is the part of the address that is no secret.
create table destinations (
    destination_id text primary key check (length(destination_id) between 1 and 64),
    account_id text not null check (length(account_id) between 1 and 64),
    license_id text not null check (length(license_id) between 1 and 64),
    kind text not null check (kind in ('webhook', 'discord', 'slack', 'telegram')),
    events text[] not null check (cardinality(events) between 1 and 32),
    address text not null check (length(address) between 1 and 256),
    sealed bytea not null check (length(sealed) between 1 and 8192),
    sealed_by text not null check (length(sealed_by) between 1 and 64),
    created_at timestamptz not null,
    ended_at timestamptz,
    ended_because text check (length(ended_because) <= 256)
);
comment on index destinations_pkey is 'Prevents two destinations from having one id.';

create index destinations_account on destinations (account_id, created_at);
create index destinations_events on destinations using gin (events) where ended_at is null;
create index destinations_sealed_by on destinations (sealed_by);

-- The outbox of notifications: one row for each event and lane, which is where it goes: channel:<name>,
-- mail:<license>, role:<license> or own:<destination>. `tries` counts the attempts; `unanswered` those of them whose
-- answer was lost, so that the receiver may have the message twice. `claimed` is true from the start of an attempt
-- until its result is stored.
create table notifications (
    notification_id uuid primary key default uuidv7(),
    event_id text not null references notification_events on delete cascade,
    lane text not null check (length(lane) between 1 and 128),
    account_id text check (length(account_id) between 1 and 64),
    state text not null default 'waiting' check (state in ('waiting', 'sent', 'parked', 'dropped')),
    tries integer not null default 0 check (tries >= 0),
    unanswered integer not null default 0 check (unanswered >= 0),
    claimed boolean not null default false,
    next_try_at timestamptz not null,
    created_at timestamptz not null default clock_timestamp(),
    done_at timestamptz,
    error text check (length(error) <= 256),
    unique (event_id, lane)
);
comment on index notifications_pkey is 'Prevents two notifications from having one id, by which receivers drop repeats.';
comment on index notifications_event_id_lane_key is 'Prevents one event from being sent to the same place twice.';

create index notifications_waiting on notifications (next_try_at, notification_id) where state = 'waiting';
create index notifications_state on notifications (state, notification_id);
create index notifications_lane on notifications (lane, notification_id);
create index notifications_account on notifications (account_id, notification_id);

-- The pace of each lane and vendor: the next message may go at `ready_at`. A run that sends has the lane until
-- `busy_until`, so that the messages of one lane go one after another, in order.
create table notification_lanes (
    lane text primary key check (length(lane) between 1 and 128),
    ready_at timestamptz not null default 'epoch',
    busy_until timestamptz not null default 'epoch'
);
comment on index notification_lanes_pkey is 'Prevents two runs from sending to one place at the same time.';

alter table notification_events enable row level security;
alter table notification_events force row level security;
alter table notifications enable row level security;
alter table notifications force row level security;
alter table destinations enable row level security;
alter table destinations force row level security;

-- Functions store the events of any account, and read those of their account and those of none, such as signals.
-- Operators read the rows of all accounts; a transaction of theirs says so.
create policy any_event on notification_events for insert to signal_functions with check (true);
create policy own_account on notifications to signal_functions
    using (account_id = current_setting('app.account_id', true));
create policy operators on notifications for select to signal_functions
    using (current_setting('app.operator', true) = 'notifications');
create policy operators_retry on notifications for update to signal_functions
    using (current_setting('app.operator', true) = 'notifications');
create policy own_account on notification_events for select to signal_functions
    using (account_id is null or account_id = current_setting('app.account_id', true));
create policy operators on notification_events for select to signal_functions
    using (current_setting('app.operator', true) = 'notifications');
create policy own_account on destinations to signal_functions
    using (account_id = current_setting('app.account_id', true));
create policy all_accounts on notification_events to signal_jobs using (true);
create policy all_accounts on notifications to signal_jobs using (true);
create policy all_accounts on destinations to signal_jobs using (true);

grant select, insert on notification_events to signal_functions, signal_jobs;
grant update (fanned_out_at) on notification_events to signal_jobs;
grant delete on notification_events to signal_jobs;
grant select, insert on notifications to signal_functions;
grant update (state, tries, next_try_at, done_at, error) on notifications to signal_functions;
grant select, insert, update, delete on notifications to signal_jobs;
grant select, insert, delete on destinations to signal_functions;
grant update (sealed, sealed_by) on destinations to signal_functions;
grant select, delete on destinations to signal_jobs;
grant update (sealed, sealed_by, ended_at, ended_because) on destinations to signal_jobs;
grant select, insert, update, delete on notification_lanes to signal_jobs;

-- The daily summary reads which accounts have trades.
create policy all_accounts on account_usage for select to signal_jobs using (true);
grant select on account_usage to signal_jobs;
