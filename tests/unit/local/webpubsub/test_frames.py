"""WebSocket frames, and the numbered messages of a reliable connection."""

import json
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.webpubsub.frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    FrameReader,
    FrameViolation,
    close_frame,
    encode_frame,
)
from local.webpubsub.limits import MAX_UNACKED_MESSAGES
from local.webpubsub.messages import Message, Payload, from_group
from local.webpubsub.replay import Replay

MASK = b"\x01\x02\x03\x04"


def _masked(opcode: int, payload: bytes, *, final: bool = True, mask: bytes = MASK) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes([size | 0x80])
    elif size < 1 << 16:
        head = struct.pack("!BH", 126 | 0x80, size)
    else:
        head = struct.pack("!BQ", 127 | 0x80, size)
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([opcode | (0x80 if final else 0)]) + head + mask + body


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=120))), st.integers(1, 50)
)
def test_messages_arrive_whole_however_they_are_cut(messages: list[tuple[int, bytes]], step: int) -> None:
    stream = b"".join(_masked(opcode, payload) for opcode, payload in messages)
    reader = FrameReader(1_000)
    received = [
        message for at in range(0, len(stream), step) for message in reader.feed(stream[at : at + step])
    ]
    assert received == messages


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 100_000])
def test_every_length_is_read(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert FrameReader(1 << 20).feed(_masked(BINARY, payload)) == [(BINARY, payload)]


def test_fragments_join_and_control_frames_may_come_between() -> None:
    reader = FrameReader(100)
    stream = (
        _masked(TEXT, b"a", final=False)
        + _masked(PING, b"!")
        + _masked(0, b"b", final=False)
        + _masked(0, b"c")
        + _masked(TEXT, b"d")
    )
    assert reader.feed(stream) == [(PING, b"!"), (TEXT, b"abc"), (TEXT, b"d")]


def test_empty_fragments_count_for_nothing() -> None:
    reader = FrameReader(100)
    assert reader.feed(_masked(TEXT, b"", final=False) + _masked(0, b"a", final=False)) == []
    tracemalloc.start()
    try:
        assert reader.feed(_masked(0, b"", final=False) * 20_000) == []
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 10_000
    assert reader.feed(_masked(0, b"b")) == [(TEXT, b"ab")]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (encode_frame(TEXT, b"not masked"), 1002),
        (_masked(0, b"nothing to go on"), 1002),
        (_masked(TEXT, b"a", final=False) + _masked(TEXT, b"b"), 1002),
        (_masked(PING, b"x", final=False), 1002),
        (_masked(PING, b"x" * 126), 1002),
        (_masked(0x3, b""), 1002),
        (_masked(TEXT | 0x40, b""), 1002),
        (_masked(TEXT, b"x" * 101), 1009),
        (_masked(TEXT, b"x" * 60, final=False) + _masked(0, b"x" * 60), 1009),
        (struct.pack("!BBQ", 0x81, 127 | 0x80, 2**62), 1009),
    ],
)
def test_violations_carry_the_close_code(stream: bytes, code: int) -> None:
    with pytest.raises(FrameViolation) as violation:
        FrameReader(100).feed(stream)
    assert violation.value.code == code


def test_a_close_reason_is_cut_between_characters() -> None:
    frame = close_frame(1000, "é" * 100)
    assert frame[0] == 0x80 | CLOSE
    assert frame[1] <= 125
    assert frame[4:].decode() == "é" * 61


def _read(frame: bytes) -> dict[str, object]:
    masked_off = {126: 4, 127: 10}.get(frame[1], 2)
    content = json.loads(frame[masked_off:])
    assert isinstance(content, dict)
    return content


@given(
    st.dictionaries(st.text(), st.floats(allow_nan=False) | st.text() | st.none()),
    st.text(min_size=1),
    st.none() | st.text(),
    st.integers(1, 2**53),
)
def test_one_message_every_way_it_is_sent(
    data: dict[str, object], group: str, user: str | None, number: int
) -> None:
    message = from_group(group, user, Payload("json", json.dumps(data).encode()), None)
    plain = _read(message.json_frame())
    assert plain["data"] == data
    assert plain["group"] == group
    assert plain.get("fromUserId") == user
    assert _read(message.simple_frame()) == data
    for sequence_id in (number, number, number + 1, 1):
        assert _read(message.reliable_frame(sequence_id)) == plain | {"sequenceId": sequence_id}


def _messages(count: int, expires_at: float | None = None) -> list[Message]:
    return [from_group("g", None, Payload("json", b"%d" % number), expires_at) for number in range(count)]


def test_numbers_begin_at_one_and_acknowledged_messages_go() -> None:
    replay = Replay()
    assert [replay.append(message) for message in _messages(5)] == [1, 2, 3, 4, 5]
    replay.acknowledge(3)
    replay.rewind()
    assert [number for number, _ in replay.unsent(0)] == [4, 5]
    replay.acknowledge(2)
    replay.acknowledge(99)
    assert len(replay) == 0
    assert replay.append(_messages(1)[0]) == 6
    assert [number for number, _ in replay.unsent(0)] == [6]


def test_what_expired_is_left_out_and_keeps_its_number() -> None:
    replay = Replay()
    for message in _messages(2) + _messages(1, expires_at=10.0) + _messages(1):
        replay.append(message)
    assert [number for number, _ in replay.unsent(9.9)] == [1, 2, 3, 4]
    assert [number for number, _ in replay.unsent(10.0)] == [1, 2, 4]


@pytest.mark.parametrize(("size", "kept"), [(1, MAX_UNACKED_MESSAGES), (1 << 20, 15)])
def test_past_its_bounds_a_replay_is_incomplete_until_acknowledged(size: int, kept: int) -> None:
    replay = Replay()
    message = from_group("g", None, Payload("text", b"x" * size), None)
    for _ in range(kept):
        replay.append(message)
        replay.sent = replay.last
    assert replay.complete
    replay.append(message)
    replay.sent = replay.last
    assert (len(replay), replay.complete, replay.lost_unsent) == (kept, False, False)
    replay.acknowledge(1)
    assert replay.complete


def test_losing_what_was_never_sent_is_told_apart() -> None:
    replay = Replay()
    for message in _messages(MAX_UNACKED_MESSAGES + 1):
        replay.append(message)
    assert replay.lost_unsent
