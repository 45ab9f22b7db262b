"""Divides trades for an honest test: caps each account's share, and tests on later days only."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec

from shared.domain.confidence.models import Outcome

# No account may make up more than this share of the trades that a model learns from, or an equal share
# where fewer than four trade...
MAX_ACCOUNT_SHARE = 0.25
# ...but each may always bring this many: a young strategy learns from the few accounts it has.
ALWAYS_ALLOWED_TRADES = 1_000

TEST_FOLDS = 4
MIN_TRAIN_TRADES = 100
MIN_TEST_TRADES = 100
MIN_TEST_DAYS = 8

# 18:00 in New York, when a session begins, is 22:00 or 23:00 UTC: shifted by two hours, a session's
# trades share a date but for the first hour of winter evenings, which goes with the day before.
_SESSION_SHIFT = timedelta(hours=2)


class Fold(msgspec.Struct, frozen=True):
    """Indices of trades to learn from and of the later ones to be tested on."""

    train: list[int]
    test: list[int]


def session_day(instant: datetime) -> int:
    """The day that a trade is counted to, as a proleptic ordinal; trades of one day share its market."""
    return (instant.astimezone(UTC) + _SESSION_SHIFT).date().toordinal()


def cap_accounts(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """`outcomes` with each account cut to its newest trades, so that none outweighs the others.

    The cap is the largest count c with c <= share * sum(min(count, c)), where share is
    MAX_ACCOUNT_SHARE or one over the number of accounts, and at least ALWAYS_ALLOWED_TRADES.
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
    """TEST_FOLDS consecutive stretches of whole days over the later half, each with all that came before.

    A trade still open when a stretch begins is purged from what is learnt before it: its result was
    not known yet. `outcomes` are in order of entry. Empty where there is too little to test on.
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
