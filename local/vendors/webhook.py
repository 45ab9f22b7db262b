"""Stands in for a customer's webhook receiver, which verifies signatures and remembers what it has."""

import json
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from local.vendors.received import Received


class WebhookReceiver:
    """Any number of receivers by name; each may have a secret of the Standard Webhooks scheme."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._secrets: dict[str, str] = {}
        self._seen: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/webhook/{name}", self.take)]

    def set_secret(self, name: str, secret: str) -> None:
        """From now on `name` refuses what is not signed with `secret` (whsec_...)."""
        self._secrets[name] = secret

    async def take(self, request: web.Request) -> web.Response:
        """Answers 204, also for a message that it already has; 401 for a wrong signature."""
        name, body = request.match_info["name"], await request.read()
        message_id = request.headers.get("webhook-id", "")
        secret = self._secrets.get(name)
        if secret is not None:
            try:
                Webhook(secret).verify(body, dict(request.headers), json_parse=False)
            except (WebhookVerificationError, ValueError) as error:
                await self._received.add("webhook_refused", name=name, problem=str(error))
                return web.json_response({"error": str(error)}, status=401)
        repeated = (name, message_id) in self._seen
        if message_id:
            self._seen.add((name, message_id))
        await self._received.add(
            "webhook",
            name=name,
            id=message_id,
            is_verified=secret is not None,
            is_repeated=repeated,
            timestamp=request.headers.get("webhook-timestamp", ""),
            signature=request.headers.get("webhook-signature", ""),
            body=_parsed(body),
        )
        return web.Response(status=204)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
