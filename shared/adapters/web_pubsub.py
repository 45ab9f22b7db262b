"""Sends messages, signs client access URLs and closes connections in Web PubSub, through the official SDK."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

from shared.errors import RealtimeUnavailable
from shared.telemetry import traced

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 1.5
# The SDK's timeouts are per socket operation; this bounds the whole call.
CALL_TIMEOUT_S = 2.0


class WebPubSubHub:
    """One hub; every method raises RealtimeUnavailable if the service cannot be reached.

    The SDK's own retries are off, because it repeats a POST that may have arrived. The outbox relay sends
    failed messages again, in order.
    """

    def __init__(self, address: str, hub: str, credential: "AsyncTokenCredential | None" = None) -> None:
        """`address` is the endpoint if there is a credential, else a connection string."""
        self.hub = hub
        options: dict[str, Any] = {
            "hub": hub,
            "retry_total": 0,
            "connection_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
        }
        if credential is None:
            self._client = WebPubSubServiceClient.from_connection_string(address, **options)
        else:
            self._client = WebPubSubServiceClient(address, credential=credential, **options)

    async def send_to_group(self, group: str, payload: bytes) -> None:
        """Sends one JSON message to every connection in `group`."""
        # A stream, because the SDK would encode a text a second time as JSON.
        sending = self._client.send_to_group(group, BytesIO(payload), content_type="application/json")
        await self._call("send_to_group", sending)

    async def client_access_url(self, user_id: str, groups: Sequence[str], lifetime: timedelta) -> str:
        """Returns a URL that lets its holder connect as `user_id` and join or leave exactly `groups`.

        Under a connection string, the SDK signs it with the access key; under a credential, the service does.
        """
        asking = self._client.get_client_access_token(
            user_id=user_id,
            roles=[f"webpubsub.joinLeaveGroup.{group}" for group in groups],
            minutes_to_expire=int(lifetime.total_seconds() // 60),
        )
        token = await self._call("get_client_access_token", asking)
        return str(token["url"])

    async def close_user(self, user_id: str, reason: str) -> None:
        """Closes every connection of one user. The user can connect again unless `negotiate` refuses."""
        await self._call("close_user", self._client.close_user_connections(user_id, reason=reason))

    async def send_to_user(self, user_id: str, payload: bytes) -> None:
        """Sends one JSON message to every connection of one user."""
        sending = self._client.send_to_user(user_id, BytesIO(payload), content_type="application/json")
        await self._call("send_to_user", sending)

    async def ping(self) -> None:
        """Makes one cheap authenticated call to the data plane."""
        await self._call("ping", self._client.group_exists("health"))

    async def close(self) -> None:
        await self._client.close()

    @staticmethod
    async def _call[T](operation: str, request: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await traced(request, operation, "webpubsub")
        except (AzureError, TimeoutError, OSError) as error:
            raise RealtimeUnavailable(
                "The realtime service cannot be reached.",
                internal=f"{type(error).__name__}: {error}",
                retry_after_s=1,
            ) from error
