-- The inbox of payment vendors: each event once, with what became of it. A timer works on what is received. An event
-- without a subject belongs to a payment: `links` are the vendor's ids of that payment, which other events share.
create table payment_events (
    payment_event_id bigint generated always as identity primary key,
    provider text not null check (provider in ('stripe', 'whop')),
    event_id text not null check (length(event_id) between 1 and 255),
    type text not null check (length(type) between 1 and 255),
    kind text not null check (length(kind) between 1 and 64),
    created_at timestamptz not null check (isfinite(created_at)),
    received_at timestamptz not null default now(),
    subject text check (length(subject) between 1 and 300),
    account_id text check (length(account_id) between 1 and 64),
    links text[] not null default '{}' check (cardinality(links) <= 50),
    payload jsonb not null check (jsonb_typeof(payload) = 'object' and length(payload::text) <= 32768),
    state text not null check (state in ('received', 'applied', 'ignored', 'failed')),
    outcome text not null default '' check (length(outcome) <= 500),
    license_id text check (length(license_id) between 1 and 64),
    tries integer not null default 0 check (tries >= 0),
    next_try_at timestamptz not null default now()
);
comment on index payment_events_pkey is 'Prevents two events from having one place in the order of arrival.';

create unique index payment_events_event on payment_events (provider, event_id);
comment on index payment_events_event is 'Prevents an event that a vendor delivers again from counting twice.';

create index payment_events_due on payment_events (next_try_at, payment_event_id) where state = 'received';
create index payment_events_state on payment_events (state, payment_event_id);
create index payment_events_subject on payment_events (subject, payment_event_id) where subject is not null;
create index payment_events_account on payment_events (account_id, payment_event_id) where account_id is not null;
create index payment_events_links on payment_events using gin (links);

grant select, insert on payment_events to signal_functions;
grant update (state, tries, next_try_at) on payment_events to signal_functions;
grant select, delete on payment_events to signal_jobs;
grant update (state, outcome, license_id, account_id, tries, next_try_at) on payment_events to signal_jobs;
