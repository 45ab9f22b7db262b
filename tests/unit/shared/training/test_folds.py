"""How trades are divided for an honest test: shares of accounts, and nothing known before its time."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.confidence.models import Outcome
from shared.training.folds import (
    MIN_TRAIN_TRADES,
    TEST_FOLDS,
    session_day,
    walk_forward,
)

START = datetime(2025, 9, 1, 14, tzinfo=UTC)


def outcome(index: int, *, entry_at: datetime = START, minutes: int = 5) -> Outcome:
    return Outcome(
        symbol="ES",
        side="LONG",
        entry_at=entry_at,
        exit_at=entry_at + timedelta(minutes=minutes),
        features={"index": float(index)},
        won=True,
    )


def test_a_session_keeps_one_day_over_midnight_whatever_the_offset() -> None:
    evening = datetime(2025, 9, 8, 22, 30, tzinfo=UTC)
    noon = datetime(2025, 9, 9, 16, tzinfo=UTC)
    new_york = timezone(timedelta(hours=-4))
    assert session_day(evening) == session_day(noon) == session_day(evening.astimezone(new_york))
    assert session_day(datetime(2025, 9, 9, 22, 30, tzinfo=UTC)) == session_day(noon) + 1


def days_of_trades(days: int, a_day: int, minutes: int = 5) -> list[Outcome]:
    return [
        outcome(day * a_day + slot, entry_at=START + timedelta(days=day, minutes=slot), minutes=minutes)
        for day in range(days)
        for slot in range(a_day)
    ]


def test_each_stretch_is_tested_by_what_was_known_when_it_began() -> None:
    trades = days_of_trades(40, 10, minutes=200)
    folds = walk_forward(trades)
    assert len(folds) == TEST_FOLDS
    tested = [index for fold in folds for index in fold.test]
    assert tested == list(range(tested[0], 400)), "later half, without holes, each trade once"
    assert 200 <= tested[0] < 220
    for fold in folds:
        begins = trades[fold.test[0]].entry_at
        assert all(trades[index].exit_at < begins for index in fold.train)
        train_days = {session_day(trades[index].entry_at) for index in fold.train}
        assert not train_days & {session_day(trades[index].entry_at) for index in fold.test}


def test_a_trade_still_open_when_a_stretch_begins_is_purged_before_it() -> None:
    trades = days_of_trades(40, 10, minutes=26 * 60)
    for fold in walk_forward(trades):
        first = fold.test[0]
        assert len(fold.train) < first, "yesterday's trades were still open"
        assert all(trades[index].exit_at < trades[first].entry_at for index in fold.train)
        assert all(
            trades[index].exit_at >= trades[first].entry_at for index in set(range(first)) - set(fold.train)
        )


@pytest.mark.parametrize(
    "trades", [[], days_of_trades(1, 500), days_of_trades(10, 100), days_of_trades(100, 1)]
)
def test_too_few_trades_or_days_make_no_test(trades: list[Outcome]) -> None:
    assert walk_forward(trades) == []


@given(st.integers(0, 2**32), st.integers(0, 600), st.integers(1, 60), st.integers(0, 5_000))
def test_no_fold_ever_learns_from_the_future(seed: int, n: int, days: int, longest: int) -> None:
    chance = random.Random(seed)
    minutes = sorted(chance.randrange(60 * 24 * days) for _ in range(n))
    trades = [
        outcome(index, entry_at=START + timedelta(minutes=minute), minutes=chance.randint(0, longest))
        for index, minute in enumerate(minutes)
    ]
    for fold in walk_forward(trades):
        assert len(fold.train) >= MIN_TRAIN_TRADES
        latest_known = max(trades[index].exit_at for index in fold.train)
        assert latest_known < min(trades[index].entry_at for index in fold.test)
