"""The shipped rules signal some times a session, and rules that make no sense are refused."""

from collections.abc import Callable, Sequence
from datetime import date, datetime

import msgspec
import pytest

from shared.domain.confidence.strategy import Strategy
from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.signals import SignalDraft
from shared.errors import ConfigurationError
from shared.strategies.vwap_bounce.engine_state import EngineState, Player
from shared.strategies.vwap_bounce.entry_rules import EntryRules, entry_rules
from tests.support.market import real_es, simulated_es
from tests.support.strategies import STRATEGIES, VWAP_BOUNCE_RULES, market_state
from tests.support.vwap_bounce import CALENDARS, ES, RULES, play


def per_session(bars: Sequence[Bar], drafts: Sequence[SignalDraft]) -> dict[date, int]:
    counts: dict[date, int] = {}
    for one in bars:
        session = CALENDARS.session_at("ES", one.open_time)
        if session is not None:
            counts.setdefault(session.trading_day, 0)
    for draft in drafts:
        session = CALENDARS.session_at("ES", draft.event_at - BAR_INTERVAL)
        assert session is not None
        counts[session.trading_day] += 1
    return counts


def test_the_shipped_rules_signal_some_times_a_session_on_simulated_bars() -> None:
    bars = simulated_es()
    _, drafts = play(bars, VWAP_BOUNCE_RULES)
    assert drafts[0].event_at <= bars[150].open_time
    assert all(5 <= count <= 20 for count in per_session(bars, drafts).values())
    assert {draft.side for draft in drafts} == {"LONG", "SHORT"}


def test_the_shipped_rules_signal_some_times_a_session_on_real_bars() -> None:
    bars = real_es()
    _, drafts = play(bars, VWAP_BOUNCE_RULES)
    counts = per_session(bars, drafts)
    assert len(counts) == 35
    assert all(4 <= count <= 20 for count in counts.values())
    for draft in drafts:
        market_state("vwap_bounce", draft.symbol, draft.side, draft.features)


def screened(bars: Sequence[Bar]) -> tuple[list[SignalDraft], set[datetime]]:
    """The entries behind screening, and the bars that were in quarantine at any time."""
    player = Player(VWAP_BOUNCE_RULES, ES, CALENDARS)
    state, drafts, quarantined = EngineState(), list[SignalDraft](), set[datetime]()
    for one in bars:
        step = player.processed(state, one, "simulated")
        state = step.state
        drafts += step.drafts
        quarantined |= {*step.quarantined}
    return drafts, quarantined


@pytest.mark.parametrize("bars", [simulated_es, real_es], ids=["simulated", "real"])
def test_no_bar_of_a_market_that_traded_is_suspicious(bars: Callable[[], Sequence[Bar]]) -> None:
    """48,307 minutes of ES, with weekends and news among them, and the bundled ones."""
    assert screened(bars()) == (play(bars(), VWAP_BOUNCE_RULES)[1], set())


def strategy_with(**entry: object) -> Strategy:
    rules = {name: getattr(RULES, name) for name in EntryRules.__struct_fields__[2:]}
    return msgspec.structs.replace(STRATEGIES["vwap_bounce"], name="a", version=1, entry=rules | entry)


def test_the_rules_are_those_of_the_strategy_under_its_name_and_version() -> None:
    assert entry_rules(strategy_with()) == msgspec.structs.replace(RULES, name="a")


@pytest.mark.parametrize(
    "entry",
    [
        {"inner_band": 2.0},
        {"inner_band": 2.5},
        {"oversold": 60},
        {"oversold": 50},
        {"oversold": 0},
        {"stop_art": 1.0},
        {"stop_atr": 0},
        {"band": -1.0},
        {"confirm_bars": 0},
        {"min_bars": "many"},
        {"quiet_minutes": -1},
    ],
)
def test_entry_rules_that_make_no_sense_stop_the_start(entry: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="The entry rules of a are wrong"):
        entry_rules(strategy_with(**entry))


def test_a_strategy_without_entry_rules_cannot_make_entries() -> None:
    with pytest.raises(ConfigurationError, match="The entry rules of capitulation_reversal are wrong"):
        entry_rules(STRATEGIES["capitulation_reversal"])
