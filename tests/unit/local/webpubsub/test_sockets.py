"""Keeping sockets alive, and when one is given up."""

import asyncio
from typing import Any

import pytest

from local.webpubsub.frames import CLOSE, PING, TEXT, encode_frame
from local.webpubsub.limits import CLOSE_TIMEOUT_S, PING_INTERVAL_S, PONG_TIMEOUT_S, SLOW_CONSUMER_BYTES
from local.webpubsub.sockets import Socket

MASKED_PONG = bytes([0x8A, 0x80, 0, 0, 0, 0])


class Clock:
    """A loop's time and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.timers: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Any) -> None:
        self.timers.append((self.now + delay_s, callback))


class Wire(asyncio.Transport):
    """A transport that keeps what is written until it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False
        self.closed = False

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted or self.closed

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def peer(clock: Clock, wire: Wire) -> Socket:
    return Socket(wire, clock)  # type: ignore[arg-type]  # the clock is all of a loop that it uses


def test_a_silent_peer_is_pinged_once_and_cut_when_it_stays_silent(
    peer: Socket, clock: Clock, wire: Wire
) -> None:
    peer.check_alive(clock.now + PING_INTERVAL_S - 1)
    assert wire.written == b""
    clock.now += PING_INTERVAL_S + 1
    peer.check_alive(clock.now)
    peer.check_alive(clock.now + PONG_TIMEOUT_S - 1)
    assert wire.written == encode_frame(PING, b"")
    assert not wire.aborted
    peer.check_alive(clock.now + PONG_TIMEOUT_S + 1)
    assert wire.aborted


def test_a_peer_that_answers_stays(peer: Socket, clock: Clock, wire: Wire) -> None:
    for _ in range(5):
        clock.now += PING_INTERVAL_S + 1
        peer.check_alive(clock.now)
        clock.now += 1
        peer.data_received(MASKED_PONG)
    assert wire.written == encode_frame(PING, b"") * 5
    assert not wire.aborted


def test_after_a_pause_of_our_own_nobody_is_cut(peer: Socket, clock: Clock, wire: Wire) -> None:
    clock.now += PING_INTERVAL_S + 1
    peer.check_alive(clock.now)
    clock.now += 10 * PONG_TIMEOUT_S
    peer.forgive_silence(clock.now)
    peer.check_alive(clock.now + 5)
    assert not wire.aborted


def test_a_peer_that_never_reads_is_cut_at_the_limit(peer: Socket, wire: Wire) -> None:
    frame = encode_frame(TEXT, b"x" * 100_000)
    peer.pause_writing()
    while not wire.aborted:
        peer.write(frame)
        assert len(wire.written) <= SLOW_CONSUMER_BYTES + len(frame)
    size = len(wire.written)
    peer.write(frame)
    assert len(wire.written) == size


def test_a_close_that_is_not_answered_is_enforced(peer: Socket, clock: Clock, wire: Wire) -> None:
    peer.close(1000, "bye")
    peer.close(1001, "again")
    peer.write(encode_frame(TEXT, b"too late"))
    assert wire.written == encode_frame(CLOSE, b"\x03\xe8bye")
    ((due, callback),) = clock.timers
    assert due == clock.now + CLOSE_TIMEOUT_S
    callback()
    assert wire.aborted
