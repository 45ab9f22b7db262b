"""Decides what follows from an attempt to send: done, another attempt later, or parked for an operator."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

# The wait after each attempt. Twelve attempts take a day, so that a vendor's bad day loses nothing.
BACK_OFF_S = (10, 30, 120, 300, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000)
MAX_TRIES = len(BACK_OFF_S) + 1
# Each wait is up to this share longer or shorter, so that what failed together does not come again together.
JITTER = 0.2
# The longest wait that a vendor can ask for.
MAX_RETRY_AFTER_S = 86_400.0
MAX_ERROR = 256

State = Literal["waiting", "sent", "parked", "dropped"]


class Outcome(msgspec.Struct, frozen=True):
    """The result of one attempt.

    `sent`: the receiver has it. `refused`: it has not, and may take it later. `lost`: we do not know, because
    no answer came. `gone`: it never will, because the address has ended. `dropped`: there is nobody to tell.
    `retry_after_s` is the wait that the receiver asked for; `everywhere` says that it asked all our senders.
    """

    kind: Literal["sent", "refused", "lost", "gone", "dropped"]
    error: str = ""
    retry_after_s: float | None = None
    everywhere: bool = False


SENT = Outcome("sent")


class Result(msgspec.Struct, frozen=True):
    """What is stored of an attempt: the state, when to try again, and how many answers were lost (0 or 1)."""

    state: State
    next_try_at: datetime
    error: str | None
    unanswered: int


def result_of(outcome: Outcome, tries: int, now: datetime, luck: float) -> Result:
    """What follows from attempt number `tries`, the first being 1. `luck` is random, in [0, 1)."""
    error = outcome.error[:MAX_ERROR] or None
    unanswered = 1 if outcome.kind == "lost" else 0
    if outcome.kind in ("sent", "dropped"):
        return Result("sent" if outcome.kind == "sent" else "dropped", now, error, unanswered)
    if outcome.kind == "gone" or tries >= MAX_TRIES:
        return Result("parked", now, error, unanswered)
    wait_s = BACK_OFF_S[max(tries, 1) - 1] * (1 + JITTER * (2 * luck - 1))
    return Result("waiting", now + timedelta(seconds=max(wait_s, asked_wait_s(outcome))), error, unanswered)


def asked_wait_s(outcome: Outcome) -> float:
    """The seconds that the receiver asked us to wait, within bounds; 0 if it did not."""
    return min(max(outcome.retry_after_s or 0.0, 0.0), MAX_RETRY_AFTER_S)
