"""Sends what is due to one webhook until it is killed: `python -m tests.support.notification_sender`."""

import asyncio
import random
import sys
import time
from datetime import UTC, datetime, timedelta

import msgspec

from shared.adapters.notifications.files import shipped_channels
from shared.adapters.notifications.outgoing import Outgoing
from shared.adapters.notifications.webhooks import WebhookSender
from shared.adapters.postgres import Database, NotificationQueue
from shared.domain.notifications.attempts import Outcome
from shared.domain.notifications.claiming import Due
from shared.domain.notifications.destinations import new_secret, webhook_message
from shared.services import notification_sending
from shared.services.notification_receivers import message_id_of
from shared.services.notification_sending import SendingService

SECRET = new_secret(lambda size: b"s" * size)


class OneWebhook:
    """Every lane's receiver is the webhook at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sender = WebhookSender(Outgoing([url]))

    async def send(self, due: Due) -> Outcome:
        body = msgspec.json.encode(webhook_message(due.event))
        message_id = message_id_of(due.notification_id)
        return await self._sender.send(self._url, [SECRET], message_id, body, datetime.now(UTC))


async def send_until_killed(database_url: str, url: str, lease_s: float) -> None:
    notification_sending.LEASE = timedelta(seconds=lease_s)
    service = SendingService(
        queue=NotificationQueue(Database(database_url, role="signal_functions", pool_size=4)),
        receivers=OneWebhook(url),
        channels=shipped_channels(),
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        random=random.random,
        count=lambda name, count=1: None,
    )
    while True:
        await service.run()
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(send_until_killed(sys.argv[1], sys.argv[2], float(sys.argv[3])))
