"""Processes that send are killed at any moment: all arrive, and few of them twice, under the same id."""

import asyncio
import signal
import sys
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

from shared.adapters.postgres import Database, NotificationEvents, NotificationList, NotificationQueue
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import Lane
from shared.domain.notifications.routing import Route
from shared.services.notification_sending import LANES_AT_ONCE
from tests.support.places import ROOT
from tests.support.vendors import VendorStandIns, vendor_stand_ins

MESSAGES, KILLS, LEASE_S = 60, 3, 0.5
LAST = UUID(int=2**128 - 1)


async def queue_messages(database: Database) -> None:
    now = datetime.now(UTC)
    await NotificationEvents(database).add(
        [Event(event_id=f"e-{n}", kind="test", at=now) for n in range(MESSAGES)]
    )
    async with NotificationQueue(database).fan_out(MESSAGES) as turn:
        for n, event in enumerate(turn.events):
            await turn.add(event, [Route(Lane("own", f"webhook_{n}"), now)])


async def sender(database_url: str, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.notification_sender", database_url, url, str(LEASE_S)),
        cwd=ROOT,
    )


async def arrived(vendors: VendorStandIns, count: int) -> None:
    while len(vendors.received.find("webhook")) < count:
        await vendors.received.wait("webhook", len(vendors.received.find("webhook")), 0.05)


async def all_sent(notifications: NotificationList) -> None:
    """Waits for another process, which stores in the database."""
    while True:
        if not await notifications.listed(state="waiting", lane=None, before=LAST, limit=1):
            return
        await asyncio.sleep(0.05)


async def test_killed_senders_lose_nothing_and_double_at_most_what_was_under_way(
    database: Database, database_url: str
) -> None:
    await queue_messages(database)
    async with vendor_stand_ins() as vendors:
        url = vendors.address("webhook/all")
        for kill in range(1, KILLS + 1):
            child = await sender(database_url, url)
            async with asyncio.timeout(30):
                # Killed as soon as another message has arrived, so that its result is mostly not stored.
                await arrived(vendors, kill * 10)
            child.send_signal(signal.SIGKILL)
            await child.wait()
        child = await sender(database_url, url)
        try:
            async with asyncio.timeout(30):
                await all_sent(NotificationList(database))
        finally:
            child.kill()
            await child.wait()
        received = Counter(entry["id"] for entry in vendors.received.find("webhook"))
    rows = await NotificationList(database).listed(state="sent", lane=None, before=LAST, limit=MESSAGES + 1)
    assert len(rows) == len(received) == MESSAGES
    doubled = {message: times for message, times in received.items() if times > 1}
    counted = {f"msg_{row.notification_id.hex}": row.unanswered for row in rows if row.unanswered}
    print(f"{KILLS} kills of {MESSAGES} messages: {len(doubled)} twice, {len(counted)} counted as unanswered")
    assert len(doubled) <= len(counted) <= KILLS * LANES_AT_ONCE
    # Whatever arrived twice is counted, and may be dropped by its id.
    assert all(times - 1 <= counted[message] for message, times in doubled.items())
