"""Makes the events of published signals, and of models that are promoted or retired."""

from datetime import datetime

from shared.domain.durations import shown_time
from shared.domain.market.signals import Signal
from shared.domain.market.test_stream import TEST_SYMBOL
from shared.domain.notifications.events import Event


def signal_events(signal: Signal, at: datetime) -> list[Event]:
    """The event of a signal that was published at `at`; none of a replay's or simulation's signal."""
    # What strangers hear with test keys is no news.
    if signal.source != "live" or signal.symbol == TEST_SYMBOL:
        return []
    values: dict[str, str | int | float | None] = {
        "symbol": signal.symbol,
        "signal": signal.kind,
        "side": signal.side,
        "price": str(signal.price),
        "stop_price": None if signal.stop_price is None else str(signal.stop_price),
        "target_price": None if signal.target_price is None else str(signal.target_price),
        "strategy": signal.strategy,
        "sequence": signal.sequence,
        "event_at": shown_time(signal.event_at),
        "expires_at": None if signal.expires_at is None else shown_time(signal.expires_at),
    }
    event_id = f"signal:{signal.symbol}:{signal.sequence}"
    return [Event(event_id=event_id, kind="signal_published", at=at, values=values)]


def model_promoted(strategy: str, version: str, basis: str, at: datetime) -> Event:
    """The event that a version is served from now on; it may be served again after another."""
    return Event(
        event_id=f"model_promoted:{version}:{shown_time(at)}",
        kind="model_promoted",
        at=at,
        values={"strategy": strategy, "version": version, "basis": basis.replace("_", " ")},
    )


def model_retired(strategy: str, version: str, at: datetime) -> Event:
    return Event(
        event_id=f"model_retired:{version}:{shown_time(at)}",
        kind="model_retired",
        at=at,
        values={"strategy": strategy, "version": version},
    )
