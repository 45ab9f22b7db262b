"""Judges whether a cached answer is too old, by what the load generator itself has seen."""

from collections import deque

# A confidence may be served for this long after it was computed.
MAX_AGE_S = 2.0


class Freshness:
    """Judges from outside whether a cached answer was computed at most MAX_AGE_S before it was asked for.

    Every computation becomes an answer with `cached` false, and this process receives all answers: so an
    answer with `cached` false must arrive within MAX_AGE_S before the request of a cached one, or later.
    """

    def __init__(self) -> None:
        self._computed: dict[int, deque[float]] = {}
        self._suspects: list[tuple[int, float]] = []

    def computed(self, index: int, received_at: float) -> None:
        self._computed.setdefault(index, deque(maxlen=1_000)).append(received_at)

    def cached(self, index: int, sent_at: float) -> None:
        times = self._computed.get(index)
        if times is None or sent_at - times[-1] > MAX_AGE_S:
            # The answer that computed it may not have arrived yet, so `stale` judges at the end.
            self._suspects.append((index, sent_at))

    def stale(self, started_at: float) -> int:
        """Counts cached answers without a computation in time; values from before the start are allowed."""
        count = 0
        for index, sent_at in self._suspects:
            if sent_at - started_at <= MAX_AGE_S:
                continue
            times = self._computed.get(index, ())
            if not any(sent_at - MAX_AGE_S <= at for at in times):
                count += 1
        return count
