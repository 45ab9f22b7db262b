"""What the events of a customer make of a license, told as stories."""

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from shared.domain.access.license_changes import (
    extended,
    resumed,
    revoked,
    suspended,
    with_contact,
    with_plan,
)
from shared.domain.access.licenses import License, license_refusal
from shared.domain.payments.events import PaymentEvent
from shared.domain.payments.history import state_of
from shared.domain.payments.licensing import RENEWAL_WAIT
from shared.errors import LicenseExpired, LicenseRevoked, LicenseSuspended
from tests.support.license_plans import PLANS
from tests.support.payment_histories import DISCORD, EMAIL, Books, Customer, Vendor, moment

DAY = timedelta(days=1)
VENDORS = pytest.mark.parametrize("vendor", ["stripe", "whop"])
GRACE = timedelta(days=float(PLANS["starter"].grace_days))


def after(customer: Customer, *actions: str) -> License:
    """The license after these actions, each a day after the one before."""
    for action in actions:
        customer.wait(86_400)
        assert customer.do(action), action
    return played(customer)


def played(customer: Customer) -> License:
    license_ = Books().play(customer.happened).license
    assert license_ is not None
    return license_


def refused(license_: License, now: object) -> type[Exception] | None:
    found = license_refusal(license_, now)  # type: ignore[arg-type]
    return None if found is None else type(found)


@VENDORS
def test_a_purchase_makes_a_license_with_the_buyers_addresses(vendor: Vendor) -> None:
    customer = Customer(vendor)
    license_ = played(customer)
    assert (license_.plan, license_.status, license_.payment) == ("starter", "active", customer.subject)
    assert (license_.email, license_.discord_user_id) == (EMAIL, DISCORD)
    assert license_.expires_at == moment(customer.bought.period_end) + RENEWAL_WAIT
    assert license_.account_id.startswith(f"{vendor}-")


@VENDORS
def test_a_purchase_that_is_not_paid_yet_makes_none(vendor: Vendor) -> None:
    pending = msgspec.structs.replace(Customer(vendor).events[0], kind="pending")
    assert Books().play([]).license is None
    books = Books()
    books.take(pending, pending.at)
    assert books.license is None


@VENDORS
def test_a_trial_works_to_its_end_and_then_as_it_is_paid(vendor: Vendor) -> None:
    customer = Customer(vendor, trial_days=7)
    trial_end = moment(customer.bought.period_end)
    assert played(customer).expires_at == trial_end + RENEWAL_WAIT
    assert after(customer, "renew").expires_at == moment(customer.bought.period_end) + RENEWAL_WAIT


@VENDORS
def test_a_renewal_extends_to_the_end_of_the_new_period(vendor: Vendor) -> None:
    customer = Customer(vendor)
    license_ = after(customer, "renew", "renew")
    assert license_.expires_at == moment(customer.bought.period_end) + RENEWAL_WAIT
    assert license_.paid_until == license_.expires_at


@VENDORS
def test_a_failed_payment_starts_a_grace_and_a_paid_one_ends_it(vendor: Vendor) -> None:
    customer = Customer(vendor)
    license_ = after(customer, "fail")
    failed_at = customer.events[-1].at
    assert license_.grace_until is not None
    assert abs(license_.grace_until - failed_at - GRACE) <= timedelta(seconds=1)
    assert refused(license_, license_.grace_until - DAY) is None
    assert refused(license_, license_.grace_until) is LicenseSuspended
    paid = after(customer, "fail", "fail", "pay")
    assert (paid.status, paid.grace_until, paid.suspended_by) == ("active", None, None)


@VENDORS
def test_the_grace_begins_with_the_first_failed_attempt(vendor: Vendor) -> None:
    once, thrice = Customer(vendor), Customer(vendor)
    assert after(once, "fail").grace_until == after(thrice, "fail", "fail", "fail").grace_until


@VENDORS
def test_a_cancelled_subscription_works_to_the_periods_end_exactly(vendor: Vendor) -> None:
    customer = Customer(vendor)
    license_ = after(customer, "cancel")
    assert license_.expires_at == moment(customer.bought.period_end)
    assert refused(license_, license_.expires_at - DAY) is None
    assert refused(license_, license_.expires_at) is LicenseExpired


@VENDORS
def test_a_subscription_that_ends_at_once_ends_at_once(vendor: Vendor) -> None:
    customer = Customer(vendor)
    assert refused(after(customer, "end"), moment(customer.now)) is LicenseExpired


@VENDORS
def test_a_full_refund_revokes_and_a_partial_one_does_not(vendor: Vendor) -> None:
    customer = Customer(vendor)
    assert after(customer, "part_refund", "part_refund").status == "active"
    license_ = after(customer, "refund")
    assert (license_.status, license_.suspended_by) == ("revoked", "payment")
    assert refused(license_, moment(customer.now)) is LicenseRevoked
    # A later payment of the same subscription is a new deal.
    assert after(customer, "renew").status == "active"


@VENDORS
def test_a_refund_of_an_older_payment_takes_nothing_that_was_paid_since(vendor: Vendor) -> None:
    customer = Customer(vendor)
    events = customer.events
    customer.wait(86_400)
    customer.do("renew")
    older = next(each for each in events if each.kind == "paid")
    refund = PaymentEvent(
        provider=vendor,
        event_id="refund",
        type="refund",
        at=moment(customer.now),
        kind="refunded",
        links=older.links,
        case="re_1",
        amount=older.amount,
        total=older.amount,
    )
    state = state_of([*customer.events, refund])
    assert state is not None
    assert state.revoked_for is None


@VENDORS
def test_a_dispute_revokes_until_it_is_won(vendor: Vendor) -> None:
    customer = Customer(vendor)
    assert after(customer, "dispute").status == "revoked"
    # Neither a payment nor time lifts an open dispute.
    assert after(customer, "renew").status == "revoked"
    won = Customer(vendor)
    assert after(won, "dispute", "win").status == "active"
    lost = Customer(vendor)
    assert after(lost, "dispute", "lose").status == "revoked"


@VENDORS
def test_plans_change_at_once_in_both_directions(vendor: Vendor) -> None:
    customer = Customer(vendor)
    assert after(customer, "upgrade").plan == "pro"
    assert after(customer, "downgrade").plan == "starter"


@VENDORS
@pytest.mark.parametrize("change", [suspended, revoked])
def test_no_payment_lifts_what_an_operator_has_done(vendor: Vendor, change: object) -> None:
    customer = Customer(vendor)
    books = Books().play(customer.happened)
    assert books.license is not None
    books.license = ended = change(books.license)  # type: ignore[operator]
    for action in ("renew", "dispute", "win", "renew"):
        customer.wait(86_400)
        customer.do(action)
    books.play(customer.happened)
    assert books.license is not None
    assert (books.license.status, books.license.suspended_by) == (ended.status, "operator")


@VENDORS
def test_an_operators_extension_beyond_the_paid_period_stays(vendor: Vendor) -> None:
    customer = Customer(vendor)
    books = Books().play(customer.happened)
    assert books.license is not None
    long_end = moment(customer.now) + 400 * DAY
    books.license = extended(books.license, long_end, moment(customer.now))
    customer.wait(86_400)
    customer.do("renew")
    customer.wait(86_400)
    customer.do("cancel")
    books.play(customer.happened)
    assert books.license.expires_at == long_end
    assert books.license.paid_until == moment(customer.bought.period_end)


@VENDORS
def test_an_operators_plan_and_address_stay_until_the_customer_changes_them(vendor: Vendor) -> None:
    customer = Customer(vendor)
    books = Books().play(customer.happened)
    assert books.license is not None
    books.license = with_contact(with_plan(books.license, "pro"), "other@example.com", None)
    customer.wait(86_400)
    customer.do("renew")
    books.play(customer.happened)
    assert (books.license.plan, books.license.email) == ("pro", "other@example.com")
    assert books.license.discord_user_id == DISCORD
    customer.do("upgrade")
    customer.do("downgrade")
    books.play(customer.happened)
    assert books.license.plan == "starter"


def test_an_operator_may_resume_what_a_payment_has_suspended() -> None:
    customer = Customer("stripe")
    license_ = resumed(after(customer, "dispute"))
    assert (license_.status, license_.suspended_by) == ("active", None)


def test_a_payment_of_whop_that_names_no_period_is_for_the_next_one() -> None:
    customer = Customer("whop")
    end = moment(customer.bought.period_end)
    paid = next(each for each in customer.events if each.kind == "paid")
    renewal = msgspec.structs.replace(paid, event_id="next", at=end, links=("pay_next",))
    state = state_of([*customer.events, renewal])
    assert state is not None
    assert state.period_end == end + (end - moment(customer.bought.period_start))


def test_a_membership_without_a_period_never_ends() -> None:
    events = [msgspec.structs.replace(each, period_end=None) for each in Customer("whop").events]
    state = state_of(events)
    assert state is not None
    assert (state.started, state.period_end) == (True, None)


def test_events_that_name_no_subscription_make_no_state() -> None:
    linked = [each for each in Customer("stripe").events if each.kind == "linked"]
    assert linked
    assert state_of(linked) is None
    assert state_of([]) is None


def test_a_failed_payment_that_the_seller_forgives_is_made_up_for() -> None:
    customer = Customer("stripe")
    assert after(customer, "fail").grace_until is not None
    customer.wait(86_400)
    customer.do("pay")
    forgiven = [each for each in customer.events if each.at < customer.events[-1].at or each.facets]
    state = state_of(forgiven)
    assert state is not None
    assert (state.failed_at, state.customer) == (None, customer.bought.customer_id)


def test_a_failure_and_a_renewal_in_one_second_is_a_failure() -> None:
    customer = Customer("stripe")
    customer.do("fail")
    without_status = [each for each in customer.events if each.kind != "past_due"]
    state = state_of(without_status)
    assert state is not None
    assert state.failed_at == customer.events[-1].at


@pytest.mark.parametrize(
    ("amounts", "total", "revoked"),
    [
        (["0"], "0", False),
        (["0"], None, False),
        (["4900"], None, True),
        (["4899"], None, False),
        (["4900"], "4901", False),
        (["2450", "2450"], None, True),
        (["2450", "2449"], None, False),
    ],
)
def test_refunds_that_add_up_to_the_whole_take_the_payment_back(
    amounts: list[str], total: str | None, revoked: bool
) -> None:
    """Each is a refund of its own; without a total of its own, that of the payment counts."""
    customer = Customer("stripe")
    paid = next(each for each in customer.events if each.kind == "paid")
    refunds = [
        PaymentEvent(
            provider="stripe",
            event_id=f"refund-{number}",
            type="refund",
            at=paid.at + DAY,
            kind="refunded",
            links=paid.links,
            case=f"re_{number}",
            amount=Decimal(amount),
            total=None if total is None else Decimal(total),
        )
        for number, amount in enumerate(amounts)
    ]
    state = state_of([*customer.events, *refunds])
    assert state is not None
    assert state.revoked_for == ("refund" if revoked else None)


def test_of_the_events_of_one_refund_the_last_counts() -> None:
    customer = Customer("whop")
    customer.do("refund")
    refund = customer.events[-1]
    failed = msgspec.structs.replace(refund, event_id="failed", at=refund.at + DAY, amount=Decimal(0))
    state = state_of([*customer.events, failed])
    assert state is not None
    assert state.revoked_for is None


def test_in_one_second_a_payment_follows_the_snapshot_of_its_failure() -> None:
    customer = Customer("stripe")
    customer.do("fail")
    failed = [each for each in customer.events if each.kind in ("payment_failed", "past_due")]
    paid = next(each for each in customer.events if each.kind == "paid")
    again = msgspec.structs.replace(paid, event_id="evt_0", at=failed[0].at, links=("in_other",))
    started = [each for each in customer.events if each.at < failed[0].at]
    state = state_of([*started, *failed, again])
    assert state is not None
    assert state.failed_at is None
