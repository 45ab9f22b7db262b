"""azure-messaging-webpubsubclient, unmodified, threaded and aio, with the connection cut in between."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from azure.messaging.webpubsubclient import WebPubSubClient, WebPubSubClientCredential
from azure.messaging.webpubsubclient.aio import WebPubSubClient as AsyncClient
from azure.messaging.webpubsubclient.aio import WebPubSubClientCredential as AsyncCredential
from azure.messaging.webpubsubclient.models import (
    CallbackType,
    OnGroupDataMessageArgs,
    OnServerDataMessageArgs,
    OpenClientError,
    SendMessageError,
    WebPubSubDataType,
    WebPubSubProtocolType,
)
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from tests.support.webpubsub import ALL_ROLES, CuttingProxy, StandIn, eventually, until

COUNT = 200

# The threaded client drops its sockets without closing them, which shows when they are collected.
pytestmark = [
    pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What a client leaves behind is collected in its own test, not in another's."""
    yield
    gc.collect()


@pytest.fixture
def proxy(stand_in: StandIn) -> Iterator[CuttingProxy]:
    with CuttingProxy(stand_in.port) as passing:
        yield passing


class Heard:
    """What the callbacks of a client were told."""

    def __init__(self) -> None:
        self.messages: list[OnGroupDataMessageArgs | OnServerDataMessageArgs] = []
        self.connected: list[str] = []
        self.disconnected: list[str | None] = []
        self.stopped = 0

    @property
    def numbers(self) -> list[int]:
        """In the order of sequence: the threaded client calls back on a thread for each message."""
        messages = sorted(self.messages, key=lambda message: message.sequence_id or 0)
        return [message.data["n"] for message in messages]

    def on_message(self, message: OnGroupDataMessageArgs | OnServerDataMessageArgs) -> None:
        self.messages.append(message)

    def on_connected(self, event: Any) -> None:
        self.connected.append(event.connection_id)

    def on_disconnected(self, event: Any) -> None:
        self.disconnected.append(event.message)

    def on_stopped(self) -> None:
        self.stopped += 1


@contextmanager
def threaded(url: Callable[[], str], heard: Heard, **options: Any) -> Iterator[WebPubSubClient]:
    client = WebPubSubClient(WebPubSubClientCredential(url), **options)
    client.subscribe(CallbackType.GROUP_MESSAGE, heard.on_message)
    client.subscribe(CallbackType.SERVER_MESSAGE, heard.on_message)
    client.subscribe(CallbackType.CONNECTED, heard.on_connected)
    client.subscribe(CallbackType.DISCONNECTED, heard.on_disconnected)
    client.subscribe(CallbackType.STOPPED, heard.on_stopped)
    client.open()
    try:
        yield client
    finally:
        client.close()
    until(lambda: heard.stopped, "the client to stop")


def test_threaded_group_messages_and_calls_take_no_timeout(
    stand_in: StandIn, hub: str, service: WebPubSubServiceClient
) -> None:
    heard = Heard()
    began = time.monotonic()
    with threaded(lambda: stand_in.url(hub, sub="ann", role=ALL_ROLES), heard) as client:
        client.join_group("g")
        for number in range(20):
            client.send_to_group("g", {"n": number}, WebPubSubDataType.JSON)
        service.send_to_group("g", {"n": 20})
        service.send_to_user("ann", {"n": 21})
        until(lambda: len(heard.messages) == 22, "all messages")
        client.send_to_group("g", {"n": 99}, WebPubSubDataType.JSON, no_echo=True)
        client.send_event("anything", "data", WebPubSubDataType.TEXT)
        client.leave_group("g")
        service.send_to_group("g", {"n": 98})
        service.send_to_user("ann", {"n": 22})
        until(lambda: len(heard.messages) == 23, "the last message")
    assert heard.numbers == list(range(23))
    assert [
        message.sequence_id for message in sorted(heard.messages, key=lambda m: m.sequence_id or 0)
    ] == list(range(1, 24))
    assert time.monotonic() - began < 10


def test_threaded_join_and_send_without_the_role_are_forbidden(stand_in: StandIn, hub: str) -> None:
    role = "webpubsub.joinLeaveGroup.allowed"
    with threaded(lambda: stand_in.url(hub, role=role), Heard(), message_retry_total=0) as client:
        client.join_group("allowed")
        not_allowed: list[Callable[[], None]] = [
            lambda: client.join_group("other"),
            lambda: client.send_to_group("allowed", "x", WebPubSubDataType.TEXT),
        ]
        for request in not_allowed:
            with pytest.raises(SendMessageError) as refused:
                request()
            assert refused.value.error_detail is not None
            assert refused.value.error_detail.name == "Forbidden"


def test_threaded_recovery_loses_and_doubles_nothing(
    stand_in: StandIn, hub: str, service: WebPubSubServiceClient, proxy: CuttingProxy
) -> None:
    heard = Heard()
    with threaded(lambda: proxy.through(stand_in.url(hub, role=ALL_ROLES)), heard) as client:
        client.join_group("g")
        for number in range(COUNT):
            service.send_to_group("g", {"n": number})
            if number in (COUNT // 4, COUNT // 2):
                proxy.cut()
        until(lambda: len(heard.messages) >= COUNT, "all messages", 30)
    assert heard.numbers == list(range(COUNT))
    assert proxy.accepted >= 2
    assert len(heard.connected) == 1  # recovered, not connected anew


def test_threaded_refused_recovery_starts_anew_and_rejoins(
    stand_in: StandIn, proxy: CuttingProxy, start_stand_in: Callable[..., StandIn]
) -> None:
    """Another server takes over without a gap: where nothing listens, this client hangs in Recovering."""
    heard, server = Heard(), stand_in
    other = start_stand_in()
    with (
        threaded(lambda: proxy.through(server.url("signals", role=ALL_ROLES)), heard) as client,
        other.service("signals") as service,
    ):
        client.join_group("g")
        until(lambda: len(heard.connected) == 1, "the first connection")
        server, proxy.target = other, other.port
        proxy.cut()
        until(lambda: len(heard.connected) == 2, "the second connection", 30)
        until(lambda: service.group_exists("g"), "the group to be joined again")
        service.send_to_group("g", {"n": 1})
        until(lambda: heard.numbers == [1], "a message")
    assert heard.connected[0] != heard.connected[1]
    assert other.stop() == 0


def test_threaded_with_an_expired_token_cannot_open(stand_in: StandIn, hub: str) -> None:
    client = WebPubSubClient(
        WebPubSubClientCredential(lambda: stand_in.url(hub, lifetime_s=-5)), start_timeout=3
    )
    with pytest.raises(OpenClientError):
        client.open()


def test_threaded_closed_by_the_service_hears_why_and_comes_back(
    stand_in: StandIn, hub: str, service: WebPubSubServiceClient
) -> None:
    heard = Heard()
    with threaded(lambda: stand_in.url(hub, sub="ann"), heard):
        until(lambda: len(heard.connected) == 1, "the connection")
        service.close_user_connections("ann", reason="license revoked")
        until(lambda: len(heard.connected) == 2, "a connection of its own again", 30)
    assert heard.disconnected[0] == "license revoked"


def test_threaded_over_the_plain_subprotocol(
    stand_in: StandIn, hub: str, service: WebPubSubServiceClient
) -> None:
    heard = Heard()
    with threaded(
        lambda: stand_in.url(hub, role=ALL_ROLES), heard, protocol_type=WebPubSubProtocolType.JSON
    ) as client:
        client.join_group("g")
        service.send_to_group("g", {"n": 1})
        until(lambda: heard.messages, "the message")
    assert [(message.data, message.sequence_id) for message in heard.messages] == [({"n": 1}, None)]


class AsyncHeard(Heard):
    async def hear_message(self, message: OnGroupDataMessageArgs | OnServerDataMessageArgs) -> None:
        self.on_message(message)

    async def hear_connected(self, event: Any) -> None:
        self.on_connected(event)

    async def hear_disconnected(self, event: Any) -> None:
        self.on_disconnected(event)


async def _aio(url: Callable[[], str], heard: AsyncHeard, **options: Any) -> AsyncIterator[AsyncClient]:
    async def fetch() -> str:
        return url()

    client = AsyncClient(AsyncCredential(fetch), **options)
    await client.subscribe(CallbackType.GROUP_MESSAGE, heard.hear_message)
    await client.subscribe(CallbackType.SERVER_MESSAGE, heard.hear_message)
    await client.subscribe(CallbackType.CONNECTED, heard.hear_connected)
    await client.subscribe(CallbackType.DISCONNECTED, heard.hear_disconnected)
    async with client:
        yield client


async def test_aio_group_messages_in_order(
    stand_in: StandIn, hub: str, service: WebPubSubServiceClient
) -> None:
    heard = AsyncHeard()
    async for client in _aio(lambda: stand_in.url(hub, sub="ann", role=ALL_ROLES), heard):
        await client.join_group("g")
        for number in range(20):
            await client.send_to_group("g", {"n": number}, WebPubSubDataType.JSON)
        await asyncio.to_thread(service.send_to_all, {"n": 20})
        await client.send_to_group("g", {"n": 99}, WebPubSubDataType.JSON, no_echo=True)
        await client.leave_group("g")
        await asyncio.to_thread(service.send_to_group, "g", {"n": 98})
        await asyncio.to_thread(service.send_to_user, "ann", {"n": 21})
        await eventually(lambda: len(heard.messages) == 22, "all messages")
    assert [message.data["n"] for message in heard.messages] == list(range(22))


async def test_aio_join_without_the_role_is_forbidden(stand_in: StandIn, hub: str) -> None:
    async for client in _aio(lambda: stand_in.url(hub), AsyncHeard(), message_retry_total=0):
        with pytest.raises(SendMessageError) as refused:
            await client.join_group("g")
        assert refused.value.error_detail is not None
        assert refused.value.error_detail.name == "Forbidden"


async def test_aio_recovery_loses_and_doubles_nothing(
    stand_in: StandIn, hub: str, service: WebPubSubServiceClient, proxy: CuttingProxy
) -> None:
    heard = AsyncHeard()
    async for client in _aio(lambda: proxy.through(stand_in.url(hub, role=ALL_ROLES)), heard):
        await client.join_group("g")
        for number in range(COUNT):
            await asyncio.to_thread(service.send_to_group, "g", {"n": number})
            if number in (COUNT // 4, COUNT // 2):
                await asyncio.to_thread(proxy.cut)
        await eventually(lambda: len(heard.messages) >= COUNT, "all messages", 30)
    assert heard.numbers == list(range(COUNT))
    assert proxy.accepted >= 2


async def test_aio_refused_recovery_starts_anew_and_rejoins(start_stand_in: Callable[..., StandIn]) -> None:
    server = start_stand_in()
    heard = AsyncHeard()
    async for client in _aio(lambda: server.url("signals", role=ALL_ROLES), heard):
        await client.join_group("g")
        await eventually(lambda: len(heard.connected) == 1, "the first connection")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await eventually(lambda: len(heard.connected) == 2, "the second connection", 40)
        with server.service("signals") as service:
            await eventually(lambda: service.group_exists("g"), "the group to be joined again")
            await asyncio.to_thread(service.send_to_group, "g", {"n": 1})
        await eventually(lambda: heard.numbers == [1], "a message")
    assert await asyncio.to_thread(server.stop) == 0
