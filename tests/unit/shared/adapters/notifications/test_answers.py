"""What the answers of receivers mean, and how far one receiver's answer may reach."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from shared.adapters.notifications.answers import judged
from shared.adapters.notifications.outgoing import Answered, Outgoing
from shared.adapters.notifications.webhooks import WebhookSender

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


class Receiver(Outgoing):
    """A customer's server that asks all senders to wait for a day."""

    async def send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        return Answered(429, {"x-ratelimit-global": "true"}, b'{"global": true, "retry_after": 86400}')


async def test_a_customer_s_server_makes_only_its_own_messages_wait() -> None:
    sender = WebhookSender(Receiver())
    outcome = await sender.send("https://example.com", [SECRET], "msg_1", b"{}", datetime.now(UTC))
    assert (outcome.kind, outcome.retry_after_s, outcome.everywhere) == ("refused", 86_400, False)


@pytest.mark.parametrize("told", ["Fri, 31 Dec 9999 23:59:59 -1200", "soon", "-1", ""])
def test_a_wait_that_no_calendar_has_is_none(told: str) -> None:
    assert judged(503, {"retry-after": told}, b"").retry_after_s is None
