"""What goes out on the hub."""

import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.market.bars import SYMBOL_PATTERN
from shared.domain.market.messages import (
    HEARTBEAT_BYTES,
    HUB,
    RevokedMessage,
    group_of,
    heartbeats,
    message_of,
)
from tests.support.samples import a_signal

AT = datetime(2025, 10, 14, 14, tzinfo=UTC)
SIGNAL = msgspec.structs.replace(a_signal(3, AT), id=UUID(int=7))


def test_a_signal_says_where_it_stands_before_what_it_is() -> None:
    assert msgspec.to_builtins(message_of(SIGNAL)) == {
        "type": "signal",
        "version": 1,
        "symbol": "ES",
        "sequence": 3,
        "event_at": "2025-10-14T14:00:00Z",
        "expires_at": "2025-10-14T14:05:00Z",
        "signal": msgspec.to_builtins(SIGNAL),
    }


def test_other_messages_say_their_type() -> None:
    (beat,) = heartbeats({"NQ": 0, "ES": 3}, AT)
    assert json.loads(beat) == {
        "type": "heartbeat",
        "version": 2,
        "event_at": "2025-10-14T14:00:00Z",
        "sequences": {"ES": 3, "NQ": 0},
    }
    assert msgspec.to_builtins(RevokedMessage(reason="key revoked", event_at=AT)) == {
        "type": "revoked",
        "version": 1,
        "reason": "key revoked",
        "event_at": "2025-10-14T14:00:00Z",
    }


@given(
    st.dictionaries(st.from_regex(SYMBOL_PATTERN), st.integers(0, 2**63 - 1), max_size=300),
    st.datetimes(timezones=st.just(UTC)),
)
def test_heartbeats_carry_every_symbol_once_in_few_short_messages(
    sequences: dict[str, int], event_at: datetime
) -> None:
    sent = list(heartbeats(sequences, event_at))
    assert all(len(message) <= HEARTBEAT_BYTES for message in sent)
    carried = [json.loads(message)["sequences"] for message in sent]
    assert [each for part in carried for each in part.items()] == sorted(sequences.items())
    # Each but the last is full: the next symbol, of at most 36 bytes, had no place in it.
    assert all(len(message) > HEARTBEAT_BYTES - 36 for message in sent[:-1])


def test_one_heartbeat_holds_as_many_symbols_as_it_says() -> None:
    long = {f"SYMBOL{n:06}": 2**63 - 1 for n in range(47)}
    short = {chr(65 + n // 26) + chr(65 + n % 26): 99_999 for n in range(140)}
    for sequences in (long, short):
        assert len(list(heartbeats(sequences, AT.replace(microsecond=1)))) == 1


def test_each_symbol_has_a_group_of_the_hub() -> None:
    assert (HUB, group_of("ES")) == ("signals", "symbol.ES")
