"""Describes the messages on the hub `signals`, and names the group of each symbol."""

from datetime import datetime

import msgspec

from shared.domain.market.signals import Signal

HUB = "signals"
MESSAGE_VERSION = 1


def group_of(symbol: str) -> str:
    return f"symbol.{symbol}"


class SignalMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="signal"):
    """One signal; the hub and `GET signals` send the same object."""

    version: int = MESSAGE_VERSION
    symbol: str
    sequence: int
    event_at: datetime
    expires_at: datetime | None
    signal: Signal


class HeartbeatMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="heartbeat"):
    """Shows a bot the symbol's last sequence, so that it knows on a quiet feed that it missed nothing."""

    version: int = MESSAGE_VERSION
    symbol: str
    sequence: int
    event_at: datetime
    expires_at: datetime | None = None


class RevokedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="revoked"):
    """Informs a bot that its license has ended; afterwards its connections are closed."""

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
