-- name: as_operator
-- Lets this transaction read the notifications of all accounts.
select set_config('app.operator', 'notifications', true);

-- name: payments
-- Payment events that wait, the age in seconds of the oldest whose subscription is known, and those given up in a day.
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

-- name: notifications
-- Notifications that wait, the time in seconds by which the most overdue is late, and those given up in a day.
select
    count(*) filter (where state = 'waiting')::integer as waiting,
    coalesce(
        greatest(extract(epoch from clock_timestamp() - min(next_try_at) filter (where state = 'waiting')), 0), 0
    )::double precision as oldest_s,
    count(*) filter (where state = 'parked' and done_at > clock_timestamp() - interval '1 day')::integer as failed
from notifications
where state in ('waiting', 'parked');
