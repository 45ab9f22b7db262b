"""Calls to customers' addresses go to what was checked, and nowhere else."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.adapters.notifications import outgoing
from shared.adapters.notifications.outgoing import NotDelivered, Outgoing
from tests.support.certificates import certificate, server_context
from tests.support.ports import free_port

URL = "https://hook.example.com:8443/secret-path"


class Names:
    """A resolver that gives another answer each time, and counts them."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0)


async def send(names: Names, url: str = URL) -> str:
    """The reason why nothing was delivered."""
    with pytest.raises(NotDelivered) as caught:
        await Outgoing(resolve=names).send("POST", url, b"{}", {})
    assert "secret-path" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "10.0.0.7"],
        ["2606:4700::1", "::ffff:169.254.169.254"],
        ["fe80::1%eth0"],
        ["not an address"],
        [],
    ],
)
async def test_a_host_with_any_address_inside_is_refused(found: list[str]) -> None:
    assert "not on the public internet" in await send(Names(found))


async def test_lookups_that_hang_keep_no_thread_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def look_up(host: str, port: int, **_: object) -> list[object]:
        threads.append(threading.current_thread().name)
        return [(None, None, None, None, ("93.184.215.14", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert await outgoing.resolve("hook.example.com", 443) == ["93.184.215.14"]
    assert threads[0].startswith("lookups")


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.0.0.1", "[::1]"])
async def test_what_is_no_public_name_is_not_even_resolved(host: str) -> None:
    names = Names()
    assert "refused" in await send(names, f"https://{host}/")
    assert names.asked == []


async def test_a_name_that_changes_its_answer_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The checked address is called, under the name, whose certificate must fit; the second answer never."""
    heard: list[str | None] = []
    port = free_port()
    certificate(tmp_path / "server.pem")
    context = server_context(tmp_path / "server.pem")
    context.sni_callback = lambda connection, name, _: heard.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("a certificate that nobody signed was accepted")

    # Only the check is lifted, for an address of this machine; the rest is as in a deployment.
    monkeypatch.setattr(outgoing, "is_public", lambda address: str(address) == "127.0.0.1")
    monkeypatch.setattr("shared.domain.notifications.addresses.PORTS", (port,))
    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    try:
        reason = await send(names, f"https://hook.example.com:{port}/secret-path")
    finally:
        server.close()
    assert "Certificate" in reason
    assert names.asked == [("hook.example.com", port)]
    assert heard == ["hook.example.com"]


async def test_a_resolver_that_does_not_answer_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(outgoing, "CONNECT_S", 0.05)
    with pytest.raises(NotDelivered, match="no answer"):
        await Outgoing(resolve=never).send("POST", URL, b"{}", {})
