"""What goes out on the hub."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from shared.domain.market.messages import HUB, HeartbeatMessage, RevokedMessage, group_of, message_of
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
    assert msgspec.to_builtins(HeartbeatMessage(symbol="ES", sequence=3, event_at=AT)) == {
        "type": "heartbeat",
        "version": 1,
        "symbol": "ES",
        "sequence": 3,
        "event_at": "2025-10-14T14:00:00Z",
        "expires_at": None,
    }
    assert msgspec.to_builtins(RevokedMessage(reason="key revoked", event_at=AT)) == {
        "type": "revoked",
        "version": 1,
        "reason": "key revoked",
        "event_at": "2025-10-14T14:00:00Z",
    }


def test_each_symbol_has_a_group_of_the_hub() -> None:
    assert (HUB, group_of("ES")) == ("signals", "symbol.ES")
