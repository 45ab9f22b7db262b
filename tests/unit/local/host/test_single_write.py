"""The local host sends a response with one system call, whole and before the connection closes."""

import asyncio

import pytest

from local.host.single_write import SingleWriteTransport


class Wire:
    """What the server's transport was asked for, in order."""

    def __init__(self) -> None:
        self.calls: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def close(self) -> None:
        self.calls.append("close")

    def is_closing(self) -> bool:
        return "close" in self.calls


@pytest.fixture
def wire() -> Wire:
    return Wire()


def _transport(wire: Wire) -> SingleWriteTransport:
    return SingleWriteTransport(wire, asyncio.get_running_loop())  # type: ignore[arg-type]


async def test_writes_of_one_iteration_go_out_together(wire: Wire) -> None:
    transport = _transport(wire)
    transport.write(b"head ")
    transport.write(b"body")
    assert wire.calls == []
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert wire.calls == [b"head body", b"next"]


async def test_a_close_comes_after_what_was_written_and_only_once(wire: Wire) -> None:
    transport = _transport(wire)
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)
    assert wire.calls == [b"last", "close"]
    assert transport.is_closing()
