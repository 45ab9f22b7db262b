"""Puts one symbol's signals in order for bot.py: each is given out once, also across the loss of a region."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Callbacks run on threads of their own: a sequence that looks missing may be a moment late.
REORDER_S = 0.25
# What a publisher sends again is the same signal if it has the same of these.
CONTENT = ("strategy", "kind", "side", "price", "event_at")
# The signals in which a repeat is looked for: more than are published while a copy lags behind.
REMEMBERED_SIGNALS = 1000


@dataclass
class Sequence:
    """One symbol's messages, given out once and in order whatever way they arrive.

    After the loss of a region the server leaves a gap, because the newest sequences were lost with it and are
    never given again. Their signals may come again under new sequences.
    """

    acted: int
    known: int = 0
    pending: dict[int, dict[str, Any]] = field(default_factory=dict)
    gap_since: float | None = None
    unsure: bool = False  # a new connection does not say what was sent before it
    _recent: deque[tuple[Any, ...]] = field(default_factory=lambda: deque(maxlen=REMEMBERED_SIGNALS))
    _before_gap: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    _last: int = 0

    def __post_init__(self) -> None:
        self._last = self.acted

    def offer(self, message: dict[str, Any]) -> None:
        if message["sequence"] > self.acted:
            self.pending.setdefault(message["sequence"], message)

    def ready(self) -> Iterator[dict[str, Any]]:
        while self.acted + 1 in self.pending:
            self.acted += 1
            yield self.pending.pop(self.acted)

    def fill(self, listed: list[dict[str, Any]], next_after: int) -> tuple[list[dict[str, Any]], int]:
        """What to act on, in order, after `GET signals` listed all that exist up to `next_after`.

        Also returns how many sequences up to there are neither listed nor here: they do not exist.
        """
        for message in listed:
            self.offer(message)
        ready = [self.pending.pop(number) for number in sorted(self.pending) if number <= next_after]
        void = max(0, next_after - self.acted - len(ready))
        self.acted = max(self.acted, next_after)
        return [*ready, *self.ready()], void

    def is_repeat(self, signal: dict[str, Any]) -> bool:
        """Whether a signal behind a gap is one that was acted on before the gap, under another sequence."""
        content = tuple(signal[name] for name in CONTENT)
        if signal["sequence"] > self._last + 1:
            self._before_gap = Counter(self._recent)
        self._last = signal["sequence"]
        if self._before_gap[content] > 0:
            self._before_gap[content] -= 1
            return True
        self._recent.append(content)
        return False

    def is_missing(self, now: float) -> bool:
        """Whether something has been missing for longer than threads can reorder."""
        if self.unsure:
            return True
        if not self.pending and self.known <= self.acted:
            self.gap_since = None
            return False
        self.gap_since = self.gap_since or now
        return now - self.gap_since > REORDER_S
