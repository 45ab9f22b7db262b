"""A customer's events end in the state of the right order: in any order, late, and more than once."""

import random
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.payments.history import in_order, state_of
from tests.support.payment_histories import ACTIONS, Books, Customer, delivered, moment

DAY_S = 86_400.0
# What happens, and how long after what was before; most histories are of a subscription that goes on.
STEPS = st.lists(
    st.tuples(
        st.sampled_from((*ACTIONS, "renew", "renew", "fail", "pay")),
        st.sampled_from((0.0, 5.0, 3_600.0, DAY_S, 8 * DAY_S, 31 * DAY_S)),
    ),
    max_size=9,
)


def played(vendor: Literal["stripe", "whop"], steps: list[tuple[str, float]], trial_days: int) -> Customer:
    customer = Customer(vendor, trial_days=trial_days)
    for action, wait_s in steps:
        customer.wait(wait_s)
        customer.do(action)
    return customer


@pytest.mark.parametrize("vendor", ["stripe", "whop"])
@given(
    steps=STEPS, trial_days=st.sampled_from((0, 0, 7)), seed=st.integers(0, 2**32), late_days=st.floats(0, 60)
)
@settings(max_examples=150)
def test_any_order_repetition_and_delay_end_in_the_state_of_the_right_order(
    vendor: Literal["stripe", "whop"],
    steps: list[tuple[str, float]],
    trial_days: int,
    seed: int,
    late_days: float,
) -> None:
    customer = played(vendor, steps, trial_days)
    arrivals = delivered(customer.happened, random.Random(seed), late_days * DAY_S)
    in_time, late = Books().play(customer.happened), Books().play(arrivals)
    end = moment(max(each.at for each in arrivals))
    for days in (0, 1, 3, 8, 35, 400):
        now = end + timedelta(days=days)
        assert late.gives(now) == in_time.gives(now), days


@pytest.mark.parametrize("vendor", ["stripe", "whop"])
@given(steps=STEPS, trial_days=st.sampled_from((0, 7)), seed=st.integers(0, 2**32))
@settings(max_examples=100)
def test_the_order_of_events_is_found_from_their_set_alone(
    vendor: Literal["stripe", "whop"], steps: list[tuple[str, float]], trial_days: int, seed: int
) -> None:
    events = played(vendor, steps, trial_days).events
    mixed = [*events, *events[::2]]
    random.Random(seed).shuffle(mixed)
    assert in_order(mixed) == in_order(events)
    assert state_of(mixed) == state_of(events)
    # Snapshots of one second are in the order in which they were made.
    snapshots = [each for each in events if each.facets]
    assert [each for each in in_order(mixed) if each.facets] == snapshots
