"""@azure/web-pubsub-client and @azure/web-pubsub, unmodified, under Node.js."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from local.setup.node import find_node, install_packages
from tests.support.places import ROOT
from tests.support.webpubsub import ALL_ROLES, BareClient, CuttingProxy, Dialer, StandIn

SCRIPTS = Path(__file__).parent / "js"
COUNT = 200


@pytest.fixture(scope="session")
def modules() -> Path:
    """Installed once for each lock file, outside the tracked tree."""
    return install_packages(SCRIPTS, ROOT / ".local" / "js")


class Script:
    """A running script and what it says, one JSON object a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 40)
        if not line:
            pytest.fail((await self._process.stderr.read()).decode())
        said = json.loads(line)
        assert isinstance(said, dict)
        return said


@asynccontextmanager
async def running(modules: Path, script: str, *arguments: str) -> AsyncIterator[Script]:
    process = await asyncio.create_subprocess_exec(
        str(find_node().node),
        str(SCRIPTS / script),
        *arguments,
        env={**os.environ, "NODE_PATH": str(modules)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Script(process)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _client(modules: Path, scenario: str, **options: object) -> Any:
    return running(modules, "client.cjs", scenario, json.dumps(options))


async def test_a_client_talks_in_order_and_ack_ids_count_once(
    modules: Path, stand_in: StandIn, hub: str
) -> None:
    async with _client(modules, "talk", url=stand_in.url(hub, sub="ann", role=ALL_ROLES)) as script:
        heard = await script.next()
    assert heard["data"] == [{"n": number} for number in range(20)] + ["text", [0, 255], "once"]
    assert heard["sequence"] == list(range(1, 24))
    assert heard["from"] == "ann"
    assert heard["duplicated"] == [False, True]


async def test_joining_and_sending_without_the_role_are_forbidden(
    modules: Path, stand_in: StandIn, hub: str
) -> None:
    async with _client(modules, "forbidden", url=stand_in.url(hub)) as script:
        assert (await script.next())["errors"] == ["Forbidden", "Forbidden"]


async def test_recovery_loses_and_doubles_nothing(
    modules: Path, stand_in: StandIn, hub: str, service: WebPubSubServiceClient
) -> None:
    with CuttingProxy(stand_in.port) as proxy:
        url = proxy.through(stand_in.url(hub, role=ALL_ROLES))
        async with _client(modules, "survive", url=url, count=COUNT) as script:
            assert await script.next() == {"event": "joined"}
            for number in range(COUNT):
                await asyncio.to_thread(service.send_to_group, "g", {"n": number})
                if number in (COUNT // 4, COUNT // 2):
                    await asyncio.to_thread(proxy.cut)
            heard = await script.next()
        assert proxy.accepted >= 2
    assert heard["data"] == list(range(COUNT))
    assert heard["connected"] == 1


async def test_a_refused_recovery_starts_anew_and_joins_again(
    modules: Path, start_stand_in: Callable[..., StandIn]
) -> None:
    server = start_stand_in()
    with server.service("signals") as service:
        async with _client(modules, "restart", url=server.url("signals", role=ALL_ROLES)) as script:
            assert await script.next() == {"event": "joined"}
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            deadline = asyncio.get_running_loop().time() + 30
            while not await asyncio.to_thread(service.group_exists, "g"):
                assert asyncio.get_running_loop().time() < deadline, "the group was not joined again"
                await asyncio.sleep(0.05)
            await asyncio.to_thread(service.send_to_group, "g", "after the restart")
            heard = await script.next()
    assert heard["data"] == ["after the restart"]
    assert await asyncio.to_thread(server.stop) == 0


async def test_a_client_that_is_closed_hears_why(
    modules: Path, stand_in: StandIn, hub: str, service: WebPubSubServiceClient
) -> None:
    async with _client(modules, "closed", url=stand_in.url(hub, sub="ann")) as script:
        await script.next()
        await asyncio.to_thread(service.close_user_connections, "ann", reason="license revoked")
        assert (await script.next())["reasons"] == ["license revoked"]


async def test_an_expired_token_does_not_open(modules: Path, stand_in: StandIn, hub: str) -> None:
    async with _client(modules, "expired", url=stand_in.url(hub, lifetime_s=-1)) as script:
        refused = await script.next()
    assert refused["event"] == "refused"
    assert "401" in refused["message"]


async def test_every_operation_of_the_service_sdk(
    modules: Path, stand_in: StandIn, hub: str, dial: Dialer
) -> None:
    client, other = await dial.json(sub="it's ann"), await dial.json()
    options = {
        "connectionString": stand_in.connection_string,
        "hub": hub,
        "connectionId": client.connection_id,
        "otherId": other.connection_id,
        "userId": "it's ann",
    }
    async with running(modules, "service.cjs", json.dumps(options)) as script:
        told = await script.next()
    token = told.pop("token")
    assert told == {
        "connectionExists": [True, False],
        "userExists": [True, False],
        "groupExists": [True, False],
        "listed": [
            {"connectionId": client.connection_id, "userId": "it's ann"},
            {"connectionId": other.connection_id},
        ],
        "added": [True, True],
        "removed": False,
        "empty": False,
        "permissions": [False, True, False],
        "badFilter": 400,
        "badTtl": 400,
        "missing": 404,
        "spared": True,
    }
    received = [await client.next() for _ in range(5)]
    assert [message.get("data") or message.get("message") for message in received] == [
        {"to": "all"},
        "user",
        "AP8=",
        {"to": "group"},
        "done",
    ]
    assert await client.closed() == 1000
    newcomer = BareClient(await dial.socket(token["url"], "json.webpubsub.azure.v1"))
    newcomer.connected = await newcomer.next()
    assert newcomer.connected["userId"] == "js"
    await newcomer.join("any")
