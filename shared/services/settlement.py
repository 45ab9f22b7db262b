"""Decides the outcome of each published signal from bars, once, for training to keep."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.outcomes import HORIZON, OutcomeBar, SettledSignal, SignalToSettle, outcome

# Missing bars may still arrive within this time; then nobody will know the result any more. A feed that stays
# behind the end of a signal's horizon for so long is not waited for.
PATIENCE = timedelta(days=1)
# A batch is 6,000 bars at most. What more there is waits for the next run.
BATCH = 200
MAX_BATCHES = 50

log = logging.getLogger(__name__)


class SettlementStore(Protocol):
    async def to_settle(
        self,
        strategy: str,
        *,
        before: datetime,
        overdue: datetime,
        after: SignalToSettle | None,
        limit: int,
    ) -> list[SignalToSettle]: ...
    async def settle(self, decided: Sequence[SettledSignal]) -> None: ...


class Hours(Protocol):
    def is_open(self, symbol: str, instant: datetime) -> bool: ...


class SettlementService:
    """Settles every signal, traded or not: an account that chose which signals train would choose the result.

    Bars of a known instrument outside its trading hours decide nothing. Upkeep deletes signals after 90 days.
    Their outcomes stay, so that training needs no signal that old.
    """

    def __init__(self, store: SettlementStore, strategies: Iterable[str], calendars: Hours) -> None:
        self._store = store
        self._calendars = calendars
        self._strategies = tuple(strategies)

    async def run(self, now: datetime) -> int:
        """Settles the signals whose horizon has passed by `now`; returns how many. Raises Unavailable.

        All wait for the whole horizon, also those that reach their target at once. Otherwise the newest
        outcomes would only be the fast ones.
        """
        return sum([await self._settle(strategy, now) for strategy in self._strategies])

    async def _settle(self, strategy: str, now: datetime) -> int:
        settled, last = 0, None
        before = now - HORIZON
        overdue = before - PATIENCE
        for _ in range(MAX_BATCHES):
            batch = await self._store.to_settle(
                strategy, before=before, overdue=overdue, after=last, limit=BATCH
            )
            decided = [
                SettledSignal(signal.symbol, signal.sequence, won)
                for signal, won in ((signal, outcome(self._in_session(signal))) for signal in batch)
                if won is not None or signal.event_at < overdue
            ]
            if decided:
                await self._store.settle(decided)
            settled += len(decided)
            if len(batch) < BATCH:
                return settled
            last = batch[-1]
        log.warning("signals of %s wait for the next run to be settled", strategy)
        return settled

    def _in_session(self, signal: SignalToSettle) -> SignalToSettle:
        """The signal with only those of its bars that count; a symbol that we do not know has no hours."""
        if signal.symbol not in INSTRUMENTS:
            return signal

        def those_of(bars: Sequence[OutcomeBar]) -> list[OutcomeBar]:
            return [bar for bar in bars if self._calendars.is_open(signal.symbol, bar.open_time)]

        first = signal.first_bars
        return msgspec.structs.replace(
            signal, bars=those_of(signal.bars), first_bars=None if first is None else those_of(first)
        )
