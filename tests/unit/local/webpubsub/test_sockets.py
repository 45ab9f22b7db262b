"""Tests what a socket reads, how it checks that its peer is alive, and when it cuts the peer."""

import asyncio
import struct
import tracemalloc
from typing import Any

import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from local.webpubsub.frames import close_frame, encode_frame
from local.webpubsub.limits import (
    CLOSE_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    PING_INTERVAL_S,
    PONG_TIMEOUT_S,
    SLOW_CONSUMER_BYTES,
)
from local.webpubsub.sockets import Socket
from tests.support.webpubsub import CONTINUATION, client_frame

TEXT, BINARY, CLOSE, PING, PONG = (
    WSMsgType.TEXT,
    WSMsgType.BINARY,
    WSMsgType.CLOSE,
    WSMsgType.PING,
    WSMsgType.PONG,
)
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


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.messages: list[tuple[WSMsgType, bytes]] = []
        self.lost_in_order: list[bool] = []

    def received(self, socket: Socket, kind: WSMsgType, payload: bytes) -> None:
        self.messages.append((kind, payload))

    def writable(self, socket: Socket) -> None: ...

    def lost(self, socket: Socket, *, closed_by_peer: bool) -> None:
        self.lost_in_order.append(closed_by_peer)


def _listening() -> tuple[Socket, Ear, Wire]:
    wire, ear = Wire(), Ear()
    socket = Socket(wire, Clock())  # type: ignore[arg-type]  # the clock is all of a loop that it uses
    socket.listen(ear)
    return socket, ear, wire


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


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=120))), st.integers(1, 50)
)
def test_messages_arrive_whole_however_they_are_cut(
    messages: list[tuple[WSMsgType, bytes]], step: int
) -> None:
    stream = b"".join(client_frame(kind, payload) for kind, payload in messages)
    socket, ear, wire = _listening()
    for at in range(0, len(stream), step):
        socket.data_received(stream[at : at + step])
    assert ear.messages == [message for message in messages if message[0] is not PING]
    assert wire.written == b"".join(encode_frame(PONG, payload) for kind, payload in messages if kind is PING)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 100_000, MAX_MESSAGE_BYTES])
def test_every_length_is_read(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    socket, ear, _ = _listening()
    socket.data_received(client_frame(BINARY, payload))
    assert ear.messages == [(BINARY, payload)]


def test_fragments_join_and_control_frames_may_come_between() -> None:
    socket, ear, wire = _listening()
    socket.data_received(
        client_frame(TEXT, b"a", final=False)
        + client_frame(PING, b"!")
        + client_frame(CONTINUATION, b"b", final=False)
        + client_frame(CONTINUATION, b"c")
        + client_frame(TEXT, b"d")
    )
    assert ear.messages == [(TEXT, b"abc"), (TEXT, b"d")]
    assert wire.written == encode_frame(PONG, b"!")


def test_empty_fragments_count_for_nothing() -> None:
    socket, ear, _ = _listening()
    socket.data_received(client_frame(TEXT, b"", final=False) + client_frame(CONTINUATION, b"a", final=False))
    stream = client_frame(CONTINUATION, b"", final=False) * 20_000
    tracemalloc.start()
    try:
        socket.data_received(stream)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 10_000
    assert ear.messages == []
    socket.data_received(client_frame(CONTINUATION, b"b"))
    assert ear.messages == [(TEXT, b"ab")]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (encode_frame(TEXT, b"not masked"), 1002),
        (client_frame(CONTINUATION, b"nothing to go on"), 1002),
        (client_frame(TEXT, b"a", final=False) + client_frame(TEXT, b"b"), 1002),
        (client_frame(PING, b"x", final=False), 1002),
        (client_frame(PING, b"x" * 126), 1002),
        (client_frame(0x3, b""), 1002),
        (client_frame(TEXT | 0x40, b""), 1002),
        (client_frame(TEXT, b"x" * (MAX_MESSAGE_BYTES + 1)), 1009),
        (client_frame(TEXT, b"x" * 600_000, final=False) + client_frame(CONTINUATION, b"x" * 600_000), 1009),
        (struct.pack("!BBQ", 0x81, 127 | 0x80, 2**62), 1009),
    ],
)
def test_violations_carry_the_close_code(stream: bytes, code: int) -> None:
    socket, ear, wire = _listening()
    socket.data_received(stream)
    socket.data_received(client_frame(TEXT, b"more"))
    assert wire.written[0] == 0x80 | CLOSE
    assert int.from_bytes(wire.written[2:4]) == code
    assert wire.written.count(b"\x88") == 1
    assert ear.messages == []


def test_messages_before_a_violation_count() -> None:
    socket, ear, _ = _listening()
    socket.data_received(client_frame(TEXT, b"good") + client_frame(0x3, b""))
    assert ear.messages == [(TEXT, b"good")]


@pytest.mark.parametrize(
    ("payload", "answer"),
    [(b"", 1000), (b"\x03\xe8", 1000), (b"\x03\xe9gone", 1000), (b"\x0f\xa0", 4000)],
    ids=["no code", "1000", "1001", "4000"],
)
def test_a_close_of_the_peer_is_answered_and_in_order(payload: bytes, answer: int) -> None:
    socket, ear, wire = _listening()
    socket.data_received(client_frame(CLOSE, payload))
    assert wire.written == close_frame(answer, "")
    assert wire.closed
    socket.connection_lost(None)
    assert ear.lost_in_order == [True]


def test_a_connection_that_breaks_is_not_closed_in_order() -> None:
    socket, ear, _ = _listening()
    socket.connection_lost(ConnectionResetError())
    assert ear.lost_in_order == [False]
