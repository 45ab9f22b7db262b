"""What an operator allowed stays, and histories that are rare end as the right order ends."""

from datetime import timedelta
from decimal import Decimal
from itertools import permutations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.access.account_data import erased
from shared.domain.access.license_changes import ended, extended, resumed
from shared.domain.access.licenses import License, license_refusal
from shared.domain.payments.events import PaymentEvent
from shared.domain.payments.history import state_of
from shared.domain.payments.licensing import RENEWAL_WAIT
from tests.support.payment_histories import Books, Customer, Vendor, moment

DAY = timedelta(days=1)
VENDORS = pytest.mark.parametrize("vendor", ["stripe", "whop"])


class Desk:
    """A customer, the license that follows, and an operator who changes it."""

    def __init__(self, vendor: Vendor, trial_days: int = 0) -> None:
        self.customer = Customer(vendor, trial_days=trial_days)
        self.books = Books().play(self.customer.happened)
        self.seen = len(self.customer.happened)

    @property
    def license(self) -> License:
        assert self.books.license is not None
        return ended(self.books.license, moment(self.customer.now))

    def do(self, *actions: str) -> License:
        for action in actions:
            self.customer.wait(86_400)
            assert self.customer.do(action), action
            new = self.customer.happened[self.seen :]
            self.seen = len(self.customer.happened)
            # Each comes twice, because vendors send again.
            self.books.play([*new, *new])
        return self.license


def refund_of(paid: PaymentEvent, cents: int, number: int = 0, after: timedelta = DAY) -> PaymentEvent:
    return PaymentEvent(
        provider=paid.provider,
        event_id=f"evt_{number}",
        type="charge.refunded",
        at=paid.at + after,
        kind="refunded",
        links=paid.links,
        case="ch_1",
        amount=Decimal(cents),
        total=paid.amount,
    )


@VENDORS
def test_a_license_that_an_operator_resumed_works_whatever_is_reported_of_the_same_dispute(
    vendor: Vendor,
) -> None:
    desk = Desk(vendor)
    assert desk.do("dispute").status == "revoked"
    desk.books.license = resumed(desk.license)
    assert desk.do("lose").status == "active"
    assert desk.do("renew").status == "active"
    again = desk.do("dispute")
    assert (again.status, again.suspended_by) == ("revoked", "payment")


@VENDORS
def test_an_operators_extension_outlasts_further_attempts_to_collect_the_same_payment(
    vendor: Vendor,
) -> None:
    desk = Desk(vendor)
    assert desk.do("fail").grace_until is not None
    now = moment(desk.customer.now)
    desk.books.license = extended(desk.license, 60 * DAY, now)
    assert license_refusal(desk.do("fail"), now + 30 * DAY) is None
    assert desk.do("pay").refused_for is None
    assert desk.do("fail").grace_until is not None, "the next payment that fails is another one"


@VENDORS
def test_a_suspension_for_a_payment_is_not_lifted_by_a_repetition(vendor: Vendor) -> None:
    desk = Desk(vendor)
    desk.do("fail")
    desk.customer.wait(20 * 86_400)
    assert desk.license.status == "suspended"
    # Whop's period has not moved, so its license may count as expired.
    assert license_refusal(desk.do("fail"), moment(desk.customer.now)) is not None
    assert desk.do("pay").status == "active"


@VENDORS
@given(late=st.permutations(range(6)))
@settings(max_examples=20)
def test_what_an_operator_allowed_stays_in_any_order_of_later_events(vendor: Vendor, late: list[int]) -> None:
    desk = Desk(vendor)
    desk.do("dispute")
    desk.books.license = resumed(desk.license)
    for action in ("part_refund", "lose", "renew", "renew"):
        desk.customer.wait(86_400)
        desk.customer.do(action)
    new = desk.customer.happened[desk.seen :]
    mixed = [new[each] for each in late if each < len(new)] + new
    desk.books.play(mixed)
    assert desk.license.status == "active"


def test_a_license_whose_holder_was_erased_is_left_alone() -> None:
    desk = Desk("stripe")
    desk.books.license = before = erased(desk.license, "erased-1")
    assert desk.do("renew", "end") == before


@VENDORS
def test_only_what_goes_on_by_itself_renews(vendor: Vendor) -> None:
    desk = Desk(vendor)
    assert desk.license.renews
    assert not desk.do("cancel").renews
    assert not Desk(vendor).do("end").renews


def test_a_refund_of_the_difference_after_an_upgrade_takes_nothing_else() -> None:
    desk = Desk("stripe")
    desk.do("upgrade")
    events = desk.customer.events
    difference = [each for each in events if each.kind == "paid"][-1]
    assert difference.amount is not None
    state = state_of([*events, refund_of(difference, int(difference.amount))])
    assert state is not None
    assert state.revoked_for is None
    desk.do("renew")
    renewal = [each for each in desk.customer.events if each.kind == "paid"][-1]
    assert renewal.amount is not None
    state = state_of([*desk.customer.events, refund_of(renewal, int(renewal.amount))])
    assert state is not None
    assert state.revoked_for == "refund"


def test_of_refunds_in_one_second_the_sum_of_all_counts() -> None:
    customer = Customer("stripe")
    paid = next(each for each in customer.events if each.kind == "paid")
    # Ids of events have no order, so the last one may sort first.
    for numbers in permutations(range(3)):
        sums = (100, 2_000, 4_900)
        refunds = [refund_of(paid, cents, number) for cents, number in zip(sums, numbers, strict=True)]
        state = state_of([*customer.events, *refunds])
        assert state is not None
        assert state.revoked_for == "refund"


@pytest.mark.parametrize(("days", "status"), [(1, "trial_started"), (1, "activated"), (7, "activated")])
def test_a_payment_at_the_beginning_of_a_short_period_of_whop_is_for_that_period(
    days: int, status: str
) -> None:
    customer = Customer("whop")
    start = customer.events[0].at
    end = start + days * DAY
    amount = Decimal(0) if status == "trial_started" else Decimal(5)
    events = [
        msgspec.structs.replace(each, kind=status, at=start, period_start=start, period_end=end)
        if each.period_end is not None
        else msgspec.structs.replace(each, at=start + timedelta(seconds=2), amount=amount)
        for each in customer.events
    ]
    state = state_of(events)
    assert state is not None
    assert state.period_end == end


@VENDORS
def test_an_address_that_no_license_can_have_keeps_nobody_from_it(vendor: Vendor) -> None:
    customer = Customer(vendor)
    events = [msgspec.structs.replace(each, email="j\u00fcrgen@example.com") for each in customer.events]
    state = state_of(events)
    assert state is not None
    assert (state.started, state.email) == (True, None)


def test_a_subscription_that_ends_in_several_periods_is_paid_period_by_period() -> None:
    customer = Customer("stripe")
    end = moment(customer.bought.period_end)
    last = [each for each in customer.events if each.facets][-1]
    far = msgspec.structs.replace(last, event_id="evt_far", kind="cancelled", ends_at=end + 200 * DAY)
    books = Books().play(customer.happened)
    books.take(far, far.at)
    assert books.license is not None
    assert books.license.expires_at == end + RENEWAL_WAIT


def test_a_trial_that_ends_without_a_way_to_pay_ends_and_works_again_when_it_goes_on() -> None:
    desk = Desk("stripe", trial_days=7)
    last = [each for each in desk.customer.events if each.facets][-1]
    trial_end = moment(desk.customer.bought.period_end)
    paused = msgspec.structs.replace(last, event_id="evt_p", kind="ended", at=trial_end, ends_at=trial_end)
    desk.books.take(paused, trial_end)
    assert desk.books.license is not None
    assert license_refusal(desk.books.license, trial_end) is not None
    goes_on = msgspec.structs.replace(
        last, event_id="evt_r", kind="activated", at=trial_end + DAY, period_end=trial_end + 31 * DAY
    )
    desk.books.take(goes_on, trial_end + DAY)
    assert license_refusal(desk.books.license, trial_end + DAY) is None
