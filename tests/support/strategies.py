"""The shipped strategies, and readers of their market states, for tests."""

from collections.abc import Mapping

from shared.adapters.strategies import shipped_strategies
from shared.domain.confidence.market_state import MarketState, StateMaker, StateReader
from shared.domain.market.signals import Side
from shared.strategies.vwap_bounce.entry_rules import entry_rules

STRATEGIES = shipped_strategies()
DEFAULT = STRATEGIES.default
STATES = StateReader(STRATEGIES)
VWAP_BOUNCE_RULES = entry_rules(STRATEGIES["vwap_bounce"])


def market_state(strategy: str, symbol: str, side: Side, features: Mapping[str, object]) -> MarketState:
    return StateMaker(STRATEGIES[strategy]).of_trade(symbol, side, features)
