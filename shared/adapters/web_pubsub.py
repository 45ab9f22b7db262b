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
# A list comes in pages of at most 200 connections.
LIST_TIMEOUT_S = 5.0


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

    async def client_access_url(
        self, user_id: str, groups: Sequence[str], memberships: Sequence[str], lifetime: timedelta
    ) -> str:
        """Returns a URL that lets its holder connect as `user_id`, and join or leave exactly `groups`.

        The connection is a member of the groups `memberships` from the start and cannot leave them. Under a
        connection string, the SDK signs the URL with the access key; under a credential, the service does.
        """
        asking = self._client.get_client_access_token(
            user_id=user_id,
            roles=[f"webpubsub.joinLeaveGroup.{group}" for group in groups],
            groups=list(memberships),
            minutes_to_expire=int(lifetime.total_seconds() // 60),
        )
        token = await self._call("get_client_access_token", asking)
        return str(token["url"])

    async def close_group(self, group: str, reason: str) -> None:
        """Closes every connection in `group`. Its clients can connect again unless `connect` refuses."""
        closing = self._client.close_group_connections(group, reason=reason)
        await self._call("close_group", closing)

    async def close_connection(self, connection_id: str, reason: str) -> None:
        """Closes one connection, which may have ended already."""
        await self._call("close_connection", self._client.close_connection(connection_id, reason=reason))

    async def connections_in(self, group: str) -> list[str]:
        """The ids of all connections in `group`, as the service knows them."""

        async def listed() -> list[str]:
            members = self._client.list_connections(group=group)
            return [str(member.connection_id) async for member in members]

        return await self._call("list_connections", listed(), LIST_TIMEOUT_S)

    async def ping(self) -> None:
        """Makes one cheap authenticated call to the data plane."""
        await self._call("ping", self._client.group_exists("health"))

    async def close(self) -> None:
        await self._client.close()

    @staticmethod
    async def _call[T](operation: str, request: Awaitable[T], timeout_s: float = CALL_TIMEOUT_S) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                return await traced(request, operation, "webpubsub")
        except (AzureError, TimeoutError, OSError) as error:
            raise RealtimeUnavailable(
                "The realtime service cannot be reached.",
                internal=f"{type(error).__name__}: {error}",
                retry_after_s=1,
            ) from error
