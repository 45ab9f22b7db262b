"""Plays stored bars through screening and the entry rules: the engine's state is a function of the bars.

`processed` takes one bar at a time, oldest first. A suspicious bar waits as a suspect. If CONFIRMING_BARS
more bars trade at its level, all of them are played, and the rules begin again at that level. If the next bar
trades at the old level instead, the suspects are never played.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from shared.domain.market.bars import Bar, Source
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.instruments import Instrument
from shared.domain.market.screening import CONFIRMING_BARS, Level, Suspect, confirms, is_suspicious
from shared.domain.market.signals import SignalDraft
from shared.strategies.vwap_bounce.entry_rules import EntryRules, EntryState, advance, after_jump

# A signal from an older bar would reach bots after the market has moved on.
SIGNAL_MAX_AGE = timedelta(minutes=3)


class EngineState(msgspec.Struct, frozen=True, array_like=True):
    """What the engine remembers of one symbol between two bars.

    `suspects` are the quarantined bars that the next ones may confirm, oldest first. `recent` are the entries
    of the last SIGNAL_MAX_AGE before the close of the newest bar, published or not. `opens_at` is the start
    of the session that was entered last.
    """

    entry: EntryState = EntryState()
    suspects: tuple[Suspect, ...] = ()
    recent: tuple[SignalDraft, ...] = ()
    opens_at: datetime | None = None


class Step(msgspec.Struct, frozen=True):
    """The state after a bar, the entries that it made, and the bars whose quarantine it began or ended."""

    state: EngineState
    drafts: tuple[SignalDraft, ...] = ()
    quarantined: tuple[datetime, ...] = ()
    confirmed: tuple[datetime, ...] = ()


class Player:
    """Plays the bars of one instrument by one set of rules; holds no state itself."""

    def __init__(self, rules: EntryRules, instrument: Instrument, calendars: MarketCalendars) -> None:
        self._rules = rules
        self._instrument = instrument
        self._calendars = calendars

    def processed(self, state: EngineState, bar: Bar, source: Source) -> Step:
        """The state after `bar`. Bars outside sessions and bars without volume change nothing."""
        session = self._calendars.session_at(self._instrument.symbol, bar.open_time)
        if session is None or bar.volume == 0:
            return Step(state)
        state = msgspec.structs.replace(state, opens_at=session.opens_at)
        match self._verdict(state, bar):
            case "accepted":
                return self._played(state, (Suspect(bar, source),), ())
            case "suspicious":
                return Step(
                    msgspec.structs.replace(state, suspects=(*state.suspects, Suspect(bar, source))),
                    quarantined=(bar.open_time,),
                )
            case "another level":
                # The suspects stay quarantined for good, because neither level is theirs.
                return Step(
                    msgspec.structs.replace(state, suspects=(Suspect(bar, source),)),
                    quarantined=(bar.open_time,),
                )
            case "confirmed":
                confirmed = tuple(suspect.bar.open_time for suspect in state.suspects)
                entry = after_jump(state.entry, float(state.suspects[0].bar.open))
                state = msgspec.structs.replace(state, entry=entry)
                return self._played(state, (*state.suspects, Suspect(bar, source)), confirmed)

    def _verdict(
        self, state: EngineState, bar: Bar
    ) -> Literal["accepted", "suspicious", "another level", "confirmed"]:
        entry, suspects = state.entry, state.suspects
        if entry.last_open_time is None or entry.atr.last_close is None:
            return "accepted"
        level = Level(entry.atr.last_close, entry.last_open_time, entry.atr, self._instrument.tick_size)
        if not is_suspicious(bar, suspects, level):
            return "accepted"
        if not suspects:
            return "suspicious"
        if not confirms(bar, suspects, level):
            return "another level"
        return "confirmed" if len(suspects) == CONFIRMING_BARS else "suspicious"

    def _played(self, state: EngineState, bars: tuple[Suspect, ...], confirmed: tuple[datetime, ...]) -> Step:
        entry, drafts = state.entry, []
        for one in bars:
            session = self._calendars.session_at(self._instrument.symbol, one.bar.open_time)
            entry, draft = advance(entry, one.bar, session, self._rules, self._instrument, source=one.source)
            if draft is not None:
                drafts.append(draft)
        oldest = bars[-1].bar.close_time - SIGNAL_MAX_AGE
        recent = tuple(draft for draft in (*state.recent, *drafts) if draft.event_at >= oldest)
        return Step(EngineState(entry, (), recent, state.opens_at), tuple(drafts), confirmed=confirmed)
