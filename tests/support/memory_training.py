"""Keeps the outcomes of signals and suspicious trades in memory, as services use them."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from shared.domain.confidence.models import Outcome
from shared.domain.confidence.safeguards import Reported
from shared.domain.market.outcomes import SettledSignal, SignalToSettle
from shared.domain.trading.signal_fit import SuspiciousTrade

if TYPE_CHECKING:
    from tests.support.memory_signals import Server


class MemoryTraining:
    """Decided signals; `undecided` and `decided` show what the settlement has seen."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self.undecided: list[SignalToSettle] = []
        self.settled: list[SettledSignal] = []
        self.decided: list[Outcome] = []

    async def to_settle(
        self,
        strategy: str,
        *,
        before: datetime,
        overdue: datetime,
        after: SignalToSettle | None,
        limit: int,
    ) -> list[SignalToSettle]:
        self._server.answer()
        known = {(one.symbol, one.sequence) for one in self.settled}
        return [
            signal
            for signal in self.undecided
            if signal.event_at <= before
            and (signal.symbol, signal.sequence) not in known
            and (after is None or _place(signal) > _place(after))
        ][:limit]

    async def settle(self, decided: Sequence[SettledSignal]) -> None:
        self._server.answer()
        self.settled.extend(decided)

    async def outcomes(self, strategy: str, *, before: datetime, limit: int) -> list[Outcome]:
        self._server.answer()
        return [outcome for outcome in self.decided if outcome.exit_at <= before][-limit:]

    async def reported(self, strategy: str, *, before: datetime) -> Reported:
        self._server.answer()
        return Reported()


def _place(signal: SignalToSettle) -> tuple[datetime, str, int]:
    return signal.event_at, signal.symbol, signal.sequence


class MemorySuspicions:
    def __init__(self, server: "Server") -> None:
        self._server = server
        self.entries: list[SuspiciousTrade] = []
        self.reviewed_since: list[datetime] = []

    async def find(self, *, since: datetime, now: datetime) -> int:
        self._server.answer()
        self.reviewed_since.append(since)
        return 0

    async def forget(self, before: datetime) -> int:
        self._server.answer()
        kept = [entry for entry in self.entries if entry.found_at >= before]
        forgotten = len(self.entries) - len(kept)
        self.entries = kept
        return forgotten

    async def list(self, limit: int) -> list[SuspiciousTrade]:
        self._server.answer()
        newest = sorted(self.entries, key=lambda entry: entry.found_at, reverse=True)
        places = Counter[str]()
        placed = []
        for entry in newest:
            placed.append((places[entry.account_id], entry))
            places[entry.account_id] += 1
        return [entry for _, entry in sorted(placed, key=lambda each: each[0])][:limit]
