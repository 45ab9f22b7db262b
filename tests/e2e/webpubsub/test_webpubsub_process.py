"""The stand-in as a process: starting, being killed and paused, stopping."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.webpubsub import ALL_ROLES, RELIABLE_PROTOCOL, BareClient, StandIn, dialing, eventually

HUB = "signals"


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "WEBPUBSUB_ACCESS_KEY"}
    return subprocess.run(
        [sys.executable, "-m", "local.webpubsub", *arguments],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_says_where_the_key_comes_from() -> None:
    done = _run("--help")
    assert done.returncode == 0
    for word in ("WEBPUBSUB_ACCESS_KEY", "--access-key-file", "--upstream-url", "--port"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([], {}, "access key"),
        ([], {"WEBPUBSUB_ACCESS_KEY": "short"}, "access key"),
        (["--access-key-file", "/does/not/exist"], {}, "/does/not/exist"),
        (["--upstream-events", "connect,teleport"], {"WEBPUBSUB_ACCESS_KEY": "k" * 32}, "connected"),
        (["--upstream-url", "ftp://host"], {"WEBPUBSUB_ACCESS_KEY": "k" * 32}, "http://"),
        (["--port", "1", "--host", "203.0.113.1"], {"WEBPUBSUB_ACCESS_KEY": "k" * 32}, "203.0.113.1"),
    ],
)
def test_what_stops_the_start_is_said_in_a_line(
    arguments: list[str], environment: dict[str, str], says: str
) -> None:
    done = _run(*arguments, **environment)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_a_stop_tells_the_clients_and_exits_with_0(
    start_stand_in: Callable[..., StandIn], name: str
) -> None:
    server = start_stand_in()
    async with dialing(server, HUB) as dial:
        clients = [await dial.json(), await dial.reliable()]
        server.process.send_signal(signal.Signals[name])
        assert [await client.closed() for client in clients] == [1001, 1001]
    assert await asyncio.to_thread(server.process.wait, 10) == 0
    assert server.log.read_text() == ""


async def test_the_key_from_a_file(start_stand_in: Callable[..., StandIn], tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("f" * 40 + "\n")
    server = start_stand_in("--access-key-file", str(key))
    server.key = "f" * 40
    server.service(HUB).send_to_all({})
    assert server.stop() == 0


async def test_after_a_kill_the_same_port_serves_and_refuses_recovery(
    start_stand_in: Callable[..., StandIn],
) -> None:
    server = start_stand_in()
    async with dialing(server, HUB) as dial:
        client = await dial.reliable(role=ALL_ROLES)
        server.kill()
        await client.ws.receive(timeout=5)
        server.start()
        assert await (await dial.recover(client)).closed() == 1008
        fresh = await dial.reliable(role=ALL_ROLES)
        await fresh.join("g")
    assert server.stop() == 0
    assert server.log.read_text() == ""


async def test_ten_seconds_standing_still_lose_nobody_and_nothing(
    start_stand_in: Callable[..., StandIn],
) -> None:
    server = start_stand_in()
    service = server.service(HUB)
    async with dialing(server, HUB) as dial:
        kept = await dial.reliable(**{"webpubsub.group": "g"})
        cut = await dial.reliable(**{"webpubsub.group": "g"})
        server.process.send_signal(signal.SIGSTOP)
        sending = asyncio.create_task(asyncio.to_thread(service.send_to_group, "g", {"n": 1}))
        transport = cut.ws.get_extra_info("socket")
        transport.shutdown(2)
        await asyncio.sleep(10)
        server.process.send_signal(signal.SIGCONT)
        await sending
        assert (await kept.next())["data"] == {"n": 1}
        await kept.nothing_came()
        again = await dial.recover(cut)
        assert (await again.next())["connectionId"] == cut.connection_id
        assert (await again.next())["data"] == {"n": 1}
    service.close()
    assert server.stop() == 0
    assert server.log.read_text() == ""


async def test_a_hundred_clients_come_at_once_and_go(start_stand_in: Callable[..., StandIn]) -> None:
    server = start_stand_in()
    with server.service(HUB) as service:
        async with dialing(server, HUB) as dial:
            url = server.url(HUB, **{"webpubsub.group": "g"})
            sockets = await asyncio.gather(*(dial.socket(url, RELIABLE_PROTOCOL) for _ in range(100)))
            clients = [BareClient(ws) for ws in sockets]
            assert all([(await client.next())["event"] == "connected" for client in clients])
            assert len(list(service.list_connections(group="g"))) == 100
        await eventually(lambda: not service.group_exists("g"), "all to be gone")
    assert server.stop() == 0
