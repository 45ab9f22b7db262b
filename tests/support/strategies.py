"""The shipped strategies, and readers of their market states, for tests."""

from collections.abc import Mapping

from shared.adapters.strategies import shipped_strategies
from shared.domain.confidence.market_state import MarketState, StateMaker, StateReader
from shared.domain.market.signals import Side
from shared.strategies.vwap_bounce.entry_rules import entry_rules

STRATEGIES = shipped_strategies()
DEFAULT = STRATEGIES.default
STATES = StateReader(STRATEGIES)
# A request for a confidence of the strategy that is not the default.
REVERSAL = {
    "strategy": "capitulation_reversal",
    "symbol": "ES",
    "signal_type": "LONG",
    "price": 6487.0,
    "flush_size_ticks": 38.0,
    "flush_velocity": 5.43,
    "flush_direction": "DOWN",
    "distance_from_flush_low": 9.0,
    "rsi": 16.9,
    "volume_climax_ratio": 1.2,
    "vwap_distance_ticks": -122.8,
    "reversal_candle": True,
    "no_new_extreme": True,
    "regime": "HIGH_VOL_TRENDING",
    "session": "ETH",
    "hour": 3,
}
VWAP_BOUNCE_RULES = entry_rules(STRATEGIES["vwap_bounce"])


def market_state(strategy: str, symbol: str, side: Side, features: Mapping[str, object]) -> MarketState:
    return StateMaker(STRATEGIES[strategy]).of_outcome(symbol, side, features)
