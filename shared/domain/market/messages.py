"""Describes the messages on the hub `signals`, and names the groups that they go to."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from shared.domain.market.signals import Signal
from shared.domain.market.test_stream import TEST_SYMBOL

HUB = "signals"
MESSAGE_VERSION = 1
# Every connection without a delay is in this group from the start, see RealtimeService.negotiate.
HEARTBEATS = "heartbeats"
# Connections that hear the test stream are in this group, and in no other unless they hear more.
TEST_HEARTBEATS = "heartbeats.test"
# Web PubSub charges for each 2 KB that it sends, and the frame around a message takes up to 150 bytes more.
HEARTBEAT_BYTES = 1_800


def group_of(symbol: str, delay_s: int = 0) -> str:
    """The group that gets a symbol's signals, at once or `delay_s` seconds after their publication."""
    return f"symbol.{symbol}.delay{delay_s}" if delay_s else f"symbol.{symbol}"


def heartbeat_groups(symbols: Iterable[str], delay_s: int = 0) -> tuple[str, ...]:
    """The groups whose heartbeats have the sequences of `symbols`; a test key learns no others.

    With a delay, they have those that were sent under this delay.
    """
    is_test = {symbol == TEST_SYMBOL for symbol in symbols}
    groups = [group for group, hears in ((HEARTBEATS, False), (TEST_HEARTBEATS, True)) if hears in is_test]
    return tuple(f"{group}.delay{delay_s}" if delay_s else group for group in groups)


def heartbeats_by_group(
    sequences: Mapping[str, int], event_at: datetime, delay_s: int = 0
) -> Iterator[tuple[str, bytes]]:
    """The heartbeats for each group: all but the test stream, and the test stream."""
    for symbols in (sequences.keys() - {TEST_SYMBOL}, sequences.keys() & {TEST_SYMBOL}):
        for group in heartbeat_groups(symbols, delay_s):
            for message in heartbeats({symbol: sequences[symbol] for symbol in symbols}, event_at):
                yield group, message


class SignalMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="signal"):
    """One signal; the hub and `GET signals` send the same object."""

    version: int = MESSAGE_VERSION
    symbol: str
    sequence: int
    event_at: datetime
    expires_at: datetime | None
    signal: Signal


class HeartbeatMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="heartbeat"):
    """Shows bots the last sequence of each symbol, so that a bot on a quiet feed knows what it missed.

    A symbol without signals has the sequence 0. Version 1 had one symbol a message.
    """

    version: int = 2
    event_at: datetime
    sequences: dict[str, int]


class RevokedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="revoked"):
    """Informs a bot that its license has ended; afterwards its connections are closed."""

    version: int = MESSAGE_VERSION
    reason: str
    event_at: datetime


def heartbeats(sequences: Mapping[str, int], event_at: datetime) -> Iterator[bytes]:
    """Encodes the last sequences of all symbols as heartbeats, none of them longer than HEARTBEAT_BYTES.

    One message holds at least 47 symbols, and 140 with names of two letters and sequences of five digits.
    """
    size_of_empty = len(msgspec.json.encode(HeartbeatMessage(event_at=event_at, sequences={})))
    part: dict[str, int] = {}
    size = size_of_empty
    for symbol in sorted(sequences):
        added = len(msgspec.json.encode({symbol: sequences[symbol]}))  # braces stand for the comma
        if part and size + added > HEARTBEAT_BYTES:
            yield msgspec.json.encode(HeartbeatMessage(event_at=event_at, sequences=part))
            part, size = {}, size_of_empty
        part[symbol] = sequences[symbol]
        size += added
    if part:
        yield msgspec.json.encode(HeartbeatMessage(event_at=event_at, sequences=part))


def message_of(signal: Signal) -> SignalMessage:
    return SignalMessage(
        symbol=signal.symbol,
        sequence=signal.sequence,
        event_at=signal.event_at,
        expires_at=signal.expires_at,
        signal=signal,
    )
