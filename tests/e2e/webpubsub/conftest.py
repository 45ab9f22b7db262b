"""A running stand-in, a hub of its own for every test, and who talks to it."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from tests.webpubsub import Dialer, StandIn, dialing


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One server for a module; at the end it must stop cleanly and have logged nothing."""
    server = StandIn(tmp_path_factory.mktemp("webpubsub") / "log.txt")
    yield server
    assert server.stop() == 0
    assert server.log.read_text() == ""


@pytest.fixture
def hub() -> str:
    return f"hub_{secrets.token_hex(6)}"


@pytest.fixture
def service(stand_in: StandIn, hub: str) -> Iterator[WebPubSubServiceClient]:
    with stand_in.service(hub) as client:
        yield client


@pytest.fixture
async def dial(stand_in: StandIn, hub: str) -> AsyncIterator[Dialer]:
    async with dialing(stand_in, hub) as dialer:
        yield dialer
