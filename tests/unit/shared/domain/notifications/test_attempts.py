"""What follows from an attempt: done, later, or parked after a day."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.notifications.attempts import BACK_OFF_S, MAX_TRIES, SENT, Outcome, result_of

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def test_twelve_tries_take_about_a_day() -> None:
    assert MAX_TRIES == 12
    assert 23 * 3_600 < sum(BACK_OFF_S) < 25 * 3_600
    assert list(BACK_OFF_S) == sorted(BACK_OFF_S)


@pytest.mark.parametrize("tries", range(1, MAX_TRIES))
@pytest.mark.parametrize("luck", [0.0, 0.5, 0.999])
def test_a_failure_is_tried_again_later_each_time(tries: int, luck: float) -> None:
    result = result_of(Outcome("refused", "500"), tries, NOW, luck)
    wait = (result.next_try_at - NOW).total_seconds() / BACK_OFF_S[tries - 1]
    assert (result.state, result.unanswered) == ("waiting", 0)
    assert wait == pytest.approx(1 + 0.2 * (2 * luck - 1))


def test_the_last_try_and_an_address_that_is_gone_are_parked() -> None:
    assert result_of(Outcome("refused", "500"), MAX_TRIES, NOW, 0.5).state == "parked"
    assert result_of(Outcome("gone", "410"), 1, NOW, 0.5).state == "parked"


def test_what_is_done_is_done() -> None:
    assert result_of(SENT, 1, NOW, 0.5).state == "sent"
    assert result_of(Outcome("dropped", "nobody"), 1, NOW, 0.5).state == "dropped"


def test_a_lost_answer_is_counted_and_tried_again() -> None:
    result = result_of(Outcome("lost", "no answer"), 1, NOW, 0.5)
    assert (result.state, result.unanswered, result.error) == ("waiting", 1, "no answer")


@pytest.mark.parametrize(("asked", "waited"), [(60.0, 60), (3.0, 10), (10**9, 86_400), (-5.0, 10)])
def test_the_receivers_wait_is_obeyed_within_a_day(asked: float, waited: float) -> None:
    result = result_of(Outcome("refused", "429", asked), 1, NOW, 0.5)
    assert result.next_try_at == NOW + timedelta(seconds=waited)
