"""How many payment events wait, and since when."""

import psycopg
import pytest

from shared.adapters.postgres import Database
from shared.adapters.postgres.payments import PaymentStore
from shared.domain.payments.inbox import Backlog

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


async def test_an_inbox_says_what_waits_and_what_was_given_up_today(
    database: Database, database_url: str
) -> None:
    store = PaymentStore(database)
    assert await store.backlog() == Backlog(0, 0.0, 0)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(PAYMENTS)
    backlog = await store.backlog()
    assert (backlog.waiting, backlog.failed) == (2, 1)
    assert backlog.oldest_s == pytest.approx(360, abs=30), "not the age of one that waits for another event"
