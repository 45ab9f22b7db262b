"""Events are stored once each, under the rights of functions and of timers."""

from datetime import UTC, datetime

import psycopg
import pytest

from shared.adapters.postgres import Database, NotificationEvents
from shared.adapters.postgres.notification_events import add_in
from shared.domain.notifications.events import Event
from shared.errors import InvalidInput

AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def an_event(event_id: str = "e-1", **changed: object) -> Event:
    given = {
        "event_id": event_id,
        "kind": "license_created",
        "at": AT,
        "account_id": "acct-1",
        "license_id": "lic_0123456789ab",
        "values": {"plan": "pro", "days": 30, "share": 0.5, "note": None},
    }
    return Event(**given | changed)  # type: ignore[arg-type]


async def stored(database_url: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute(
            "select event_id, kind, at, account_id, license_id, shown from notification_events order by 1"
        )
        return await found.fetchall()


async def test_an_event_is_stored_once_however_often_it_is_reported(
    database: Database, database_url: str
) -> None:
    events = NotificationEvents(database)
    await events.add([an_event(), an_event(), an_event("e-2", account_id=None, license_id=None, values={})])
    await events.add([an_event(values={"plan": "other"})])
    await events.add([])
    assert await stored(database_url) == [
        ("e-1", "license_created", AT, "acct-1", "lic_0123456789ab", dict(an_event().values)),
        ("e-2", "license_created", AT, None, None, {}),
    ]


@pytest.mark.parametrize("jobs", [False, True])
async def test_events_of_a_transaction_that_fails_never_happened(
    database: Database, database_url: str, jobs: bool
) -> None:
    with pytest.raises(ConnectionError):
        async with database.transaction(jobs=jobs) as connection:
            await add_in(connection, [an_event()])
            raise ConnectionError
    assert await stored(database_url) == []
    async with database.transaction(jobs=jobs, account_id=None if jobs else "acct-2") as connection:
        await add_in(connection, [an_event()])
    assert len(await stored(database_url)) == 1


async def test_an_event_that_is_too_large_is_refused(database: Database) -> None:
    with pytest.raises(InvalidInput):
        await NotificationEvents(database).add([an_event(values={"note": "x" * 20_000})])
