"""A running stand-in, a hub of its own for every test, and who talks to it."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from tests.support.webpubsub import Dialer, StandIn, dialing


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One server for a module; at the end it must stop cleanly and have logged nothing."""
    server = StandIn(tmp_path_factory.mktemp("webpubsub") / "log.txt")
    try:
        yield server
        assert server.stop() == 0
        assert server.log.read_text() == ""
    finally:
        server.kill()


@pytest.fixture
def start_stand_in(tmp_path: Path) -> Iterator[Callable[..., StandIn]]:
    """Starts servers that a test has for itself, with the arguments given; none outlives the test."""
    started: list[StandIn] = []

    def start(*arguments: str) -> StandIn:
        server = StandIn(tmp_path / f"log{len(started)}.txt", *arguments)
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


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
