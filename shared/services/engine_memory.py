"""Encodes what the engine remembers between turns: its state, now and at the start of recent sessions."""

import logging
from collections.abc import Sequence
from datetime import datetime

import msgspec

from shared.strategies.vwap_bounce.engine_state import EngineState

# Raised when EngineState changes shape or meaning; a state of another version is not read.
STATE_VERSION = 2
# Sessions at whose start a state is kept. Bars that change before the first of them move nothing any more:
# the VWAP begins with each session, and RSI and ATR keep 13/14 of their past each minute.
KEPT_SESSIONS = 3

log = logging.getLogger(__name__)


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The state before the first bar from `opens_at` on; None is before every bar."""

    opens_at: datetime | None
    state: EngineState


BEGINNING = Checkpoint(None, EngineState())


class _Saved(msgspec.Struct, frozen=True, array_like=True):
    version: int
    content: msgspec.Raw


def encoded(content: EngineState | Sequence[Checkpoint]) -> bytes:
    # JSON and not msgpack: the exact VWAP sums may outgrow 64 bits.
    return msgspec.json.encode((STATE_VERSION, content))


def decoded_state(saved: bytes, symbol: str) -> EngineState | None:
    """The saved state; None if it cannot be read, which the log says."""
    return _decoded(saved, EngineState, symbol)


def decoded_checkpoints(saved: bytes | None, symbol: str) -> list[Checkpoint]:
    """The saved checkpoints, oldest first; none if they cannot be read."""
    return ([] if saved is None else _decoded(saved, list[Checkpoint], symbol)) or []


def _decoded[T](saved: bytes, kind: type[T], symbol: str) -> T | None:
    try:
        document = msgspec.json.decode(saved, type=_Saved)
        if document.version == STATE_VERSION:
            return msgspec.json.decode(document.content, type=kind)
    except msgspec.DecodeError as error:
        log.warning("engine state of %s cannot be read, computing it again from bars: %s", symbol, error)
        return None
    log.warning("engine state of %s is of version %d, computing it again from bars", symbol, document.version)
    return None
