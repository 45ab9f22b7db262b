-- name: add
-- Stores an event, unless it is stored already.
insert into payment_events (
    provider, event_id, type, kind, created_at, received_at, subject, account_id, links, payload, state, outcome, next_try_at
)
values (
    %(provider)s, %(event_id)s, %(type)s, %(kind)s, %(created_at)s, %(now)s, %(subject)s, %(account_id)s, %(links)s,
    %(payload)s, %(state)s, %(outcome)s, %(now)s
)
on conflict (provider, event_id) do nothing
returning payment_event_id;

-- name: due
-- The received events whose time has come, the longest due first.
select payment_event_id, subject, tries
from payment_events
where state = 'received' and next_try_at <= %(now)s
order by next_try_at, payment_event_id
limit %(limit)s;

-- name: subject_of
-- The subscription of an event: its own, or the one that an event about the same payment names.
with recursive related as (
    select payment_event_id, provider, subject, links from payment_events where payment_event_id = %(payment_event_id)s
    union
    select other.payment_event_id, other.provider, other.subject, other.links
    from related
    cross join lateral (
        select * from payment_events as linked where linked.links && related.links
    ) as other
    where other.provider = related.provider and related.subject is null
)
select min(subject) from related;

-- name: lock
-- Locks a subscription until the transaction ends, so that two runs do not decide on different events.
select pg_advisory_xact_lock(hashtextextended('payments.' || %(subject)s, 0));

-- name: related
-- All events of a subscription, with those that name only one of its payments.
with recursive related as (
    select payment_event_id, provider, links from payment_events where subject = %(subject)s
    union
    select other.payment_event_id, other.provider, other.links
    from related
    cross join lateral (
        select * from payment_events as linked where linked.links && related.links
    ) as other
    where other.provider = related.provider
)
select payment_event_id, received_at, payload
from payment_events
where payment_event_id = any (array(select payment_event_id from related)) and kind <> 'ignored'
order by payment_event_id
limit %(limit)s;

-- name: event
-- One event, whose subscription is not known.
select payment_event_id, received_at, payload
from payment_events
where payment_event_id = %(payment_event_id)s;

-- name: settle
-- Marks events as applied, with what they did.
update payment_events
set state = 'applied', outcome = %(outcome)s, license_id = coalesce(%(license_id)s, license_id),
    account_id = coalesce(account_id, %(account_id)s)
where payment_event_id = any (%(payment_event_ids)s) and state in ('received', 'failed');

-- name: erase
-- Takes the buyer from events that came after the erasure of their account.
update payment_events
set account_id = %(pseudonym)s, payload = payload - 'email' - 'discord_user_id' - 'customer'
where payment_event_id = any (%(payment_event_ids)s) and account_id is distinct from %(pseudonym)s;

-- name: put_off
-- Lets a received event wait, or parks it as failed.
update payment_events
set state = %(state)s, outcome = %(outcome)s, tries = tries + 1, next_try_at = coalesce(%(until)s, next_try_at)
where payment_event_id = %(payment_event_id)s and state = 'received';

-- name: run_again
-- Makes an event due now, whatever became of it.
update payment_events
set state = 'received', tries = 0, next_try_at = %(now)s
where payment_event_id = %(payment_event_id)s and kind <> 'ignored'
returning payment_event_id;

-- name: list
-- A page of events, the newest first.
select
    payment_event_id, provider, event_id, type, kind, created_at, received_at, subject, account_id, license_id, state,
    outcome, tries, case when state = 'received' then next_try_at end as next_try_at
from payment_events
where payment_event_id < %(before)s
order by payment_event_id desc
limit %(limit)s;

-- name: list_state
-- A page of the events of one state, the newest first.
select
    payment_event_id, provider, event_id, type, kind, created_at, received_at, subject, account_id, license_id, state,
    outcome, tries, case when state = 'received' then next_try_at end as next_try_at
from payment_events
where state = %(state)s and payment_event_id < %(before)s
order by payment_event_id desc
limit %(limit)s;

-- name: list_subject
-- A page of the events of one subscription, the newest first.
select
    payment_event_id, provider, event_id, type, kind, created_at, received_at, subject, account_id, license_id, state,
    outcome, tries, case when state = 'received' then next_try_at end as next_try_at
from payment_events
where subject = %(subject)s and payment_event_id < %(before)s
    and (%(state)s::text is null or state = %(state)s)
order by payment_event_id desc
limit %(limit)s;

-- name: show
-- One event, as an operator sees it.
select
    payment_event_id, provider, event_id, type, kind, created_at, received_at, subject, account_id, license_id, state,
    outcome, tries, case when state = 'received' then next_try_at end as next_try_at
from payment_events
where payment_event_id = %(payment_event_id)s;

-- name: forget_ignored
-- Deletes a bounded number of ignored events that were received before a time.
delete from payment_events
where payment_event_id = any (array(
    select payment_event_id
    from payment_events
    where state = 'ignored' and received_at < %(before)s
    order by payment_event_id
    limit %(limit)s
));

-- name: backlog
-- Events that wait, the age in seconds of the oldest whose subscription is known, and those given up within a day.
select
    count(*) filter (where state = 'received')::integer as waiting,
    coalesce(
        extract(
            epoch from clock_timestamp() - min(received_at) filter (where state = 'received' and subject is not null)
        ), 0
    )::double precision as oldest_s,
    count(*) filter (where state = 'failed' and received_at > clock_timestamp() - interval '1 day')::integer as failed
from payment_events
where state in ('received', 'failed');
