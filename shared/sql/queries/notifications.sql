-- name: add
-- Stores events, once each.
insert into notification_events (event_id, kind, at, account_id, license_id, shown)
select * from unnest(
    %(event_ids)s::text[], %(kinds)s::text[], %(ats)s::timestamptz[], %(account_ids)s::text[],
    %(license_ids)s::text[], %(shown)s::jsonb[]
)
on conflict do nothing;

-- name: lock_fan_out
-- Lets one run at a time decide who is notified, so that ids of notifications have the order of their commits.
select pg_advisory_xact_lock(hashtext('signal_cloud.notifications'));

-- name: new_events
-- The oldest events for which nobody has decided yet who is notified.
select event_id, kind, at, account_id, license_id, shown as values
from notification_events
where fanned_out_at is null and event_id <> all(%(skipped)s::text[])
order by received_at, event_id
limit %(limit)s;

-- name: subscribed
-- The destinations of all customers that get events of a kind.
select destination_id, account_id, license_id
from destinations
where ended_at is null and events @> array[%(kind)s::text]
order by destination_id;

-- name: subscribed_of_account
-- The destinations of one account that get events of a kind.
select destination_id, account_id, license_id
from destinations
where account_id = %(account_id)s and ended_at is null and %(kind)s = any(events)
order by destination_id;

-- name: add_notifications
-- Queues one event for the places where it goes; one of them only once.
insert into notifications (event_id, lane, account_id, next_try_at)
select * from unnest(
    %(event_ids)s::text[], %(lanes)s::text[], %(account_ids)s::text[], %(ats)s::timestamptz[]
)
on conflict do nothing;

-- name: note_fan_out
-- Notes that it is decided who is notified of some events.
update notification_events set fanned_out_at = clock_timestamp() where event_id = any(%(event_ids)s::text[]);

-- name: due
-- Locks the notifications that are due, but for those of lanes for which another run sends. The first few of each lane
-- come before the next few of any, so that a lane with very many, such as one that is replayed, hides no other.
select notification_id, notifications.event_id, lane, notifications.account_id as owner, tries, claimed, kind, at,
    notification_events.account_id, license_id, shown as values
from notifications
join notification_events using (event_id)
where notification_id = any (array(
    select notification_id
    from (
        select
            notification_id, next_try_at,
            (row_number() over (partition by lane order by next_try_at, notification_id) - 1) / %(few)s as turn
        from notifications as waiting
        where state = 'waiting' and next_try_at <= %(now)s
            and not exists (
                select from notification_lanes as busy
                where busy.lane = waiting.lane and busy.busy_until > %(now)s
            )
    ) as ranked
    order by turn, next_try_at, notification_id
    limit %(limit)s
)) and state = 'waiting' and next_try_at <= %(now)s
order by next_try_at, notification_id
for update of notifications skip locked;

-- name: add_lanes
-- Makes the rows of lanes that have none yet.
insert into notification_lanes (lane)
select lane from unnest(%(lanes)s::text[]) as lane order by lane
on conflict do nothing;

-- name: lock_lanes
-- Locks the lanes that no other run holds.
select lane, ready_at
from notification_lanes
where lane = any(%(lanes)s::text[]) and busy_until <= %(now)s
order by lane
for update skip locked;

-- name: take
-- Counts an attempt for each notification. An attempt before it without a result may have reached the receiver.
update notifications
set tries = tries + 1, unanswered = unanswered + claimed::integer, claimed = true, next_try_at = %(until)s
where notification_id = any(%(ids)s::uuid[]);

-- name: postpone
-- Lets notifications wait until their lanes are ready.
update notifications
set next_try_at = postponed.at
from unnest(%(ids)s::uuid[], %(ats)s::timestamptz[]) as postponed (notification_id, at)
where notifications.notification_id = postponed.notification_id;

-- name: pace_lanes
-- Stores when lanes are ready again, and until when this run sends for them.
update notification_lanes
set ready_at = paced.ready_at, busy_until = paced.busy_until
from unnest(%(lanes)s::text[], %(ready_ats)s::timestamptz[], %(busy_untils)s::timestamptz[])
    as paced (lane, ready_at, busy_until)
where notification_lanes.lane = paced.lane;

-- name: note_result
-- Stores the result of an attempt, unless a later attempt has begun since.
update notifications
set state = %(state)s, next_try_at = %(next_try_at)s, error = %(error)s, claimed = false,
    unanswered = unanswered + %(unanswered)s, done_at = case when %(state)s <> 'waiting' then %(now)s::timestamptz end
where notification_id = %(notification_id)s and tries = %(tries)s and claimed and state = 'waiting';

-- name: give_back
-- Takes back attempts that were not made.
update notifications set tries = tries - 1, claimed = false, next_try_at = %(at)s
where notification_id = any(%(ids)s::uuid[]) and claimed and state = 'waiting';

-- name: free_lane
-- Lets other runs send for a lane, from the time on at which it is ready.
update notification_lanes set busy_until = 'epoch', ready_at = greatest(ready_at, %(ready_at)s)
where lane = %(lane)s;

-- name: hold_lane
-- Lets nobody send for a lane before a time.
update notification_lanes set ready_at = greatest(ready_at, %(ready_at)s) where lane = %(lane)s;

-- name: act_as_operator
-- Lets the rest of this transaction read and change the notifications of all accounts.
select set_config('app.operator', 'notifications', true);

-- name: listed
-- Notifications before one, newest first.
select notification_id, event_id, lane, account_id, state, tries, unanswered, created_at, next_try_at, done_at, error,
    (select kind from notification_events as events where events.event_id = notifications.event_id) as kind
from notifications
where notification_id < %(before)s
order by notification_id desc
limit %(limit)s;

-- name: listed_of_state
-- As listed, of one state.
select notification_id, event_id, lane, account_id, state, tries, unanswered, created_at, next_try_at, done_at, error,
    (select kind from notification_events as events where events.event_id = notifications.event_id) as kind
from notifications
where state = %(state)s and notification_id < %(before)s
order by notification_id desc
limit %(limit)s;

-- name: listed_of_lane
-- As listed, of one lane, in one state or all.
select notification_id, event_id, lane, account_id, state, tries, unanswered, created_at, next_try_at, done_at, error,
    (select kind from notification_events as events where events.event_id = notifications.event_id) as kind
from notifications
where lane = %(lane)s and notification_id < %(before)s
    and (%(state)s::text is null or state = %(state)s)
order by notification_id desc
limit %(limit)s;

-- name: retry
-- Lets a notification that was given up, or whose receiver had ended, be tried again as if it were new.
update notifications set state = 'waiting', tries = 0, next_try_at = %(now)s, done_at = null, error = null
where notification_id = %(notification_id)s and state in ('parked', 'dropped')
returning lane;

-- name: state_of
-- The state of one notification.
select state from notifications where notification_id = %(notification_id)s;

-- name: parked
-- How many notifications were given up, and how old the oldest waiting one is, in seconds.
select
    (select count(*) from notifications where state = 'parked'),
    coalesce(
        (
            select extract(epoch from %(now)s - next_try_at)::double precision
            from notifications
            where state = 'waiting' and next_try_at <= %(now)s
            order by next_try_at
            limit 1
        ),
        0
    );

-- name: own
-- An account's notifications after one, oldest first, with their events. A signal of after a time is early: the license gets it later.
select notification_id, notifications.event_id, kind, lane, state, tries, created_at, done_at, error, at,
    notification_events.account_id, license_id, shown as values,
    kind = 'signal_published' and at > %(signals_until)s as is_early
from notifications
join notification_events using (event_id)
where notifications.account_id = %(account_id)s and notification_id > %(after)s
order by notification_id
limit %(limit)s;

-- name: replay
-- Sends an account's notifications of one destination again that were sent from a time on, the oldest of them first.
update notifications set state = 'waiting', tries = 0, next_try_at = %(now)s, done_at = null, error = null
where notification_id in (
    select notification_id from notifications
    where lane = %(lane)s and account_id = %(account_id)s and state in ('sent', 'parked', 'dropped')
        and created_at >= %(since)s
    order by notification_id
    limit %(limit)s
);
