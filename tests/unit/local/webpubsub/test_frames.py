"""Frames that the stand-in encodes, and the numbered messages of a reliable connection."""

import json

import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from local.webpubsub.frames import close_frame
from local.webpubsub.limits import MAX_UNACKED_MESSAGES
from local.webpubsub.messages import Message, Payload, from_group
from local.webpubsub.replay import Replay


def test_a_close_reason_is_cut_between_characters() -> None:
    frame = close_frame(1000, "é" * 100)
    assert frame[0] == 0x80 | WSMsgType.CLOSE
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
