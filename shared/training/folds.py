"""Divides outcomes for an unbiased test, on later days only."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec

from shared.domain.confidence.models import Outcome

TEST_FOLDS = 4
MIN_TRAIN_TRADES = 100
MIN_TEST_TRADES = 100
MIN_TEST_DAYS = 8

# A session lasts from 18:00 to 17:00 in New York: 22:00 to 21:00 UTC in summer, 23:00 to 22:00 UTC in winter.
# After a shift by two hours, all outcomes of a session have the same UTC date.
_SESSION_SHIFT = timedelta(hours=2)


class Fold(msgspec.Struct, frozen=True):
    """Indices of the outcomes to train on, and of the later ones to test on."""

    train: list[int]
    test: list[int]


def session_day(instant: datetime) -> int:
    """The session day, as a proleptic ordinal; outcomes of one day depend on the same market."""
    return (instant.astimezone(UTC) + _SESSION_SHIFT).date().toordinal()


def walk_forward(outcomes: Sequence[Outcome]) -> list[Fold]:
    """TEST_FOLDS consecutive test periods of whole days over the later half, each with all earlier outcomes.

    A signal that is still open at the start of a period is not trained on for it, because its result was not
    known yet. `outcomes` are in order of entry. Empty if there is too little to test on.
    """
    days = [session_day(outcome.entry_at) for outcome in outcomes]
    if not days:
        return []
    first_tested = len(days) // 2
    starts = []
    for fold in range(TEST_FOLDS):
        index = first_tested + fold * (len(days) - first_tested) // TEST_FOLDS
        while index < len(days) and index and days[index] == days[index - 1]:
            index += 1
        if index < len(days) and index not in starts:
            starts.append(index)
    folds = []
    for start, end in pairwise([*starts, len(days)]):
        begins_at = outcomes[start].entry_at
        train = [index for index in range(start) if outcomes[index].exit_at < begins_at]
        folds.append(Fold(train, list(range(start, end))))
    tested = [index for fold in folds for index in fold.test]
    enough = (
        len(tested) >= MIN_TEST_TRADES
        and len({days[index] for index in tested}) >= MIN_TEST_DAYS
        and all(len(fold.train) >= MIN_TRAIN_TRADES for fold in folds)
    )
    return folds if enough else []
