"""How much waits in the inbox of payment events and in the outbox of notifications."""

import psycopg
import pytest

from shared.adapters.postgres import Database
from shared.adapters.postgres.backlogs import Backlogs
from shared.domain.backlog import Backlog

PAYMENTS = """
insert into payment_events (provider, event_id, type, kind, created_at, received_at, subject, payload, state)
select 'stripe', event_id, 'invoice.paid', 'paid', now(), now() - age, subject, '{}', state
from (
    values
        ('evt_1', interval '6 minutes', 'stripe:sub_1', 'received'),
        ('evt_2', interval '9 minutes', null, 'received'),
        ('evt_3', interval '1 hour', 'stripe:sub_2', 'failed'),
        ('evt_4', interval '2 days', 'stripe:sub_3', 'failed'),
        ('evt_5', interval '2 hours', 'stripe:sub_4', 'applied')
) as event (event_id, age, subject, state);
"""
NOTIFICATIONS = """
insert into notification_events (event_id, kind, at, shown) values ('event-1', 'test', now(), '{}');
insert into notifications (event_id, lane, state, next_try_at, done_at)
values
    ('event-1', 'channel:ops', 'waiting', now() - interval '40 seconds', null),
    ('event-1', 'channel:oncall', 'waiting', now() + interval '1 hour', null),
    ('event-1', 'channel:sms', 'parked', now(), now() - interval '1 hour'),
    ('event-1', 'channel:telegram', 'parked', now(), now() - interval '2 days'),
    ('event-1', 'channel:community', 'sent', now(), now());
"""


async def test_an_empty_inbox_and_outbox_have_no_backlog(database: Database) -> None:
    backlogs = Backlogs(database)
    assert await backlogs.payments() == await backlogs.notifications() == Backlog(0, 0.0, 0)


async def test_backlogs_count_what_waits_and_what_was_given_up_today(
    database: Database, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(PAYMENTS)
        await connection.execute(NOTIFICATIONS)
    payments, notifications = await Backlogs(database).payments(), await Backlogs(database).notifications()
    assert (payments.waiting, payments.failed) == (2, 1)
    assert payments.oldest_s == pytest.approx(360, abs=30), "not the age of one that waits for another event"
    assert (notifications.waiting, notifications.failed) == (2, 1)
    assert notifications.oldest_s == pytest.approx(40, abs=30)
