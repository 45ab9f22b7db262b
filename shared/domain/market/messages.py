"""What goes out on the hub `signals`, and which group it goes to."""

from datetime import datetime

import msgspec

from shared.domain.market.signals import Signal

HUB = "signals"
MESSAGE_VERSION = 1


def group_of(symbol: str) -> str:
    return f"symbol.{symbol}"


class SignalMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="signal"):
    """One signal, the same object on the hub and in `GET signals`."""

    version: int = MESSAGE_VERSION
    symbol: str
    sequence: int
    event_at: datetime
    expires_at: datetime | None
    signal: Signal


class HeartbeatMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="heartbeat"):
    """Sent to each symbol's group, so that a bot on a quiet feed knows that it missed nothing."""

    version: int = MESSAGE_VERSION
    symbol: str
    sequence: int
    event_at: datetime
    expires_at: datetime | None = None


class RevokedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="revoked"):
    """Tells a bot that its license has ended; its connections are closed after it."""

    version: int = MESSAGE_VERSION
    reason: str
    event_at: datetime


def message_of(signal: Signal) -> SignalMessage:
    return SignalMessage(
        symbol=signal.symbol,
        sequence=signal.sequence,
        event_at=signal.event_at,
        expires_at=signal.expires_at,
        signal=signal,
    )
