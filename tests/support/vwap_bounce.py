"""Provides entry rules that tests can reckon with, and plays bars through them."""

from collections.abc import Iterable

from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import Bar
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.signals import SignalDraft
from shared.strategies.vwap_bounce.entry_rules import EntryRules, EntryState, advance

CALENDARS = market_calendars()
ES = INSTRUMENTS["ES"]
RULES = EntryRules(
    name="vwap_bounce",
    version=1,
    band=2.0,
    inner_band=1.0,
    oversold=30,
    confirm_bars=3,
    min_bars=30,
    min_deviation_ticks=2,
    max_gap_minutes=5,
    quiet_minutes=15,
    expires_minutes=5,
    stop_atr=1.0,
)


def play(
    bars: Iterable[Bar], rules: EntryRules = RULES, state: EntryState | None = None
) -> tuple[EntryState, list[SignalDraft]]:
    state, drafts = state or EntryState(), []
    for one in bars:
        session = CALENDARS.session_at("ES", one.open_time)
        state, draft = advance(state, one, session, rules, ES, source="simulated")
        if draft is not None:
            drafts.append(draft)
    return state, drafts
