"""Divides trades for an unbiased test: caps each account's share, and tests on later days only."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec

from shared.domain.confidence.models import Outcome

# No account may have more than this share of the training trades; with fewer than four accounts, no more
# than an equal share...
MAX_ACCOUNT_SHARE = 0.25
# ...but this many are always allowed, so that a new strategy can train on the few accounts that it has.
ALWAYS_ALLOWED_TRADES = 1_000

TEST_FOLDS = 4
MIN_TRAIN_TRADES = 100
MIN_TEST_TRADES = 100
MIN_TEST_DAYS = 8

# A session lasts from 18:00 to 17:00 in New York: 22:00 to 21:00 UTC in summer, 23:00 to 22:00 UTC in winter.
# After a shift by two hours, all trades of a session have the same UTC date.
_SESSION_SHIFT = timedelta(hours=2)


class Fold(msgspec.Struct, frozen=True):
    """Indices of the trades to train on, and of the later ones to test on."""

    train: list[int]
    test: list[int]


def session_day(instant: datetime) -> int:
    """The session day of a trade, as a proleptic ordinal; trades of one day depend on the same market."""
    return (instant.astimezone(UTC) + _SESSION_SHIFT).date().toordinal()


def cap_accounts(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """`outcomes` with at most the newest c trades of each account, so that none outweighs the others.

    c is the largest count with c <= share * sum(min(count, c)), but at least ALWAYS_ALLOWED_TRADES; share is
    MAX_ACCOUNT_SHARE, or one over the number of accounts if that is more.
    """
    counts = Counter(outcome.account_id for outcome in outcomes)
    share = max(MAX_ACCOUNT_SHARE, 1 / max(1, len(counts)))
    low, high = ALWAYS_ALLOWED_TRADES, max(counts.values(), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        total = sum(min(count, middle) for count in counts.values())
        if middle <= share * total:
            low = middle
        else:
            high = middle - 1
    surplus = {account: count - low for account, count in counts.items()}
    kept = []
    for outcome in outcomes:
        if surplus[outcome.account_id] > 0:
            surplus[outcome.account_id] -= 1
        else:
            kept.append(outcome)
    return kept


def walk_forward(outcomes: Sequence[Outcome]) -> list[Fold]:
    """TEST_FOLDS consecutive test periods of whole days over the later half, each with all earlier trades.

    A trade that is still open at the start of a period is not trained on for it, because its result was not
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
