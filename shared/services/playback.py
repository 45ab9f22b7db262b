"""Plays stored bars from a starting point, and collects what follows from them."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from shared.domain.market.bars import StoredBar
from shared.domain.market.signals import SignalDraft
from shared.services.engine_memory import Checkpoint
from shared.strategies.vwap_bounce.engine_state import EngineState, Player


class DecidedEntry(NamedTuple):
    """An entry, and the bar at whose close it was decided."""

    draft: SignalDraft
    stored: StoredBar


class Playback:
    """`state` follows from the bars taken so far.

    `entered` are the states before the first bar of each session that these bars began. `marks` says which
    bars have to be put into quarantine in the store (True), or released (False).
    """

    def __init__(self, player: Player, state: EngineState) -> None:
        self._player = player
        self.state = state
        self.last: StoredBar | None = None
        self.decided: list[DecidedEntry] = []
        self.entered: list[Checkpoint] = []
        self.marks: dict[datetime, bool] = {}

    def take(self, bars: Iterable[StoredBar]) -> None:
        """Plays `bars`, oldest first; they follow all that were taken before."""
        for stored in bars:
            before = self.state
            step = self._player.processed(before, stored.bar, stored.source)
            self.state = step.state
            self.last = stored
            if step.state.opens_at != before.opens_at:
                self.entered.append(Checkpoint(step.state.opens_at, before))
            self.decided += [DecidedEntry(draft, stored) for draft in step.drafts]
            if stored.quarantined != bool(step.quarantined):
                self.marks[stored.bar.open_time] = not stored.quarantined
            for open_time in step.confirmed:
                self.marks[open_time] = False

    @property
    def quarantined(self) -> frozenset[datetime]:
        """The bars that this playback has put into quarantine and left there."""
        return frozenset(open_time for open_time, is_quarantined in self.marks.items() if is_quarantined)
