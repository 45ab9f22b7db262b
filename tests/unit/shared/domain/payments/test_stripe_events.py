"""Stripe's events are read in the shapes of its documentation, of today's and of older API versions."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.domain.payments.events import PaymentEvent
from shared.domain.payments.stripe_events import read_stripe_event

CREATED, START, END = 1_679_609_767, 1_679_609_767, 1_682_288_167
NEW_ITEMS = {
    "object": "list",
    "data": [
        {
            "id": "si_NcLYdDxLHxlFo7",
            "current_period_end": END,
            "current_period_start": START,
            "price": {"id": "price_1Mowd", "product": "prod_NZKd"},
        }
    ],
}
OLD_ITEMS = {"object": "list", "data": [{"price": {"id": "price_1Mowd", "product": "prod_NZKd"}}]}
# As the API's reference shows a subscription: the period on its items, and before 2025 on itself.
SUBSCRIPTION = {
    "id": "sub_1MowQV",
    "object": "subscription",
    "cancel_at": None,
    "cancel_at_period_end": False,
    "canceled_at": None,
    "customer": "cus_Na6dX7aXxi11N4",
    "ended_at": None,
    "items": NEW_ITEMS,
    "metadata": {"discord_user_id": "123456789012345678"},
    "status": "active",
    "trial_end": None,
}
OLD_SUBSCRIPTION = SUBSCRIPTION | {
    "items": OLD_ITEMS,
    "current_period_start": START,
    "current_period_end": END,
}
LINE = {"amount": 4900, "period": {"start": START, "end": END}}
INVOICE = {
    "id": "in_1MtHbE",
    "object": "invoice",
    "amount_paid": 4900,
    "customer": "cus_Na6dX7aXxi11N4",
    "customer_email": "jennyrosen@example.com",
    "lines": {
        "data": [LINE | {"pricing": {"price_details": {"price": "price_1Mowd", "product": "prod_NZKd"}}}]
    },
    "parent": {
        "type": "subscription_details",
        "subscription_details": {"subscription": "sub_1MowQV", "metadata": {}},
    },
    "total": 4900,
}
OLD_INVOICE = {
    "id": "in_1MtHbE",
    "object": "invoice",
    "amount_paid": 4900,
    "charge": "ch_3MmlL",
    "customer": "cus_Na6dX7aXxi11N4",
    "customer_email": "jennyrosen@example.com",
    "lines": {"data": [LINE | {"price": {"id": "price_1Mowd", "product": "prod_NZKd"}}]},
    "payment_intent": "pi_3MmlL",
    "subscription": "sub_1MowQV",
    "total": 4900,
}
CHARGE = {
    "id": "ch_3MmlL",
    "amount": 4900,
    "amount_refunded": 4900,
    "customer": "cus_Na6dX7aXxi11N4",
    "invoice": None,
    "payment_intent": "pi_3MmlL",
    "refunded": True,
}
DISPUTE = {
    "id": "du_1MtJU",
    "amount": 1000,
    "charge": "ch_3MmlL",
    "payment_intent": "pi_3MmlL",
    "status": "needs_response",
}


def read(kind: str, found: object, before: object = None, *, livemode: bool = True) -> PaymentEvent:
    data: dict[str, Any] = {"object": found}
    if before is not None:
        data["previous_attributes"] = before
    event = {
        "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy",
        "object": "event",
        "api_version": "2019-02-19",
        "created": CREATED,
        "data": data,
        "livemode": livemode,
        "pending_webhooks": 0,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
    return read_stripe_event(json.dumps(event).encode(), live=True)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize("found", [SUBSCRIPTION, OLD_SUBSCRIPTION], ids=["new", "old"])
def test_a_subscription_is_read_wherever_its_period_is(found: dict[str, Any]) -> None:
    event = read("customer.subscription.created", found)
    assert (event.kind, event.subject, event.customer) == (
        "activated",
        "stripe:sub_1MowQV",
        "cus_Na6dX7aXxi11N4",
    )
    assert (event.period_start, event.period_end, event.at) == (at(START), at(END), at(CREATED))
    assert event.products == ("price_1Mowd", "prod_NZKd")
    assert event.discord_user_id == "123456789012345678"


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"status": "trialing"}, "trial_started"),
        ({"status": "incomplete"}, "pending"),
        ({"status": "incomplete_expired"}, "ended"),
        ({"status": "past_due"}, "past_due"),
        ({"status": "unpaid"}, "past_due"),
        ({"status": "paused"}, "ended"),
        ({"status": "canceled", "ended_at": START}, "ended"),
        ({"cancel_at_period_end": True}, "cancelled"),
        ({"status": "trialing", "cancel_at_period_end": True}, "cancelled"),
        ({"cancel_at": END}, "cancelled"),
        ({"status": "a status of tomorrow"}, "pending"),
    ],
)
def test_the_status_says_what_a_snapshot_is(changed: dict[str, Any], kind: str) -> None:
    assert read("customer.subscription.updated", SUBSCRIPTION | changed).kind == kind


def test_a_changed_price_is_a_change_of_plan_and_a_new_period_alone_is_none() -> None:
    other = {"data": [{"price": {"id": "price_other", "product": "prod_NZKd"}}]}
    earlier = {"data": [NEW_ITEMS["data"][0] | {"current_period_end": START}]}  # type: ignore[operator]
    assert read("customer.subscription.updated", SUBSCRIPTION, {"items": other}).kind == "plan_changed"
    assert read("customer.subscription.updated", SUBSCRIPTION, {"items": earlier}).kind == "activated"


def test_the_end_is_that_of_the_period_or_the_one_that_was_chosen() -> None:
    cancelled = read("customer.subscription.updated", SUBSCRIPTION | {"cancel_at_period_end": True})
    chosen = read("customer.subscription.updated", SUBSCRIPTION | {"cancel_at": END + 5})
    deleted = read(
        "customer.subscription.deleted", SUBSCRIPTION | {"status": "canceled", "ended_at": END - 5}
    )
    assert (cancelled.ends_at, chosen.ends_at, deleted.ends_at) == (at(END), at(END + 5), at(END - 5))


@pytest.mark.parametrize(
    ("found", "links"),
    [(INVOICE, ("in_1MtHbE",)), (OLD_INVOICE, ("in_1MtHbE", "pi_3MmlL", "ch_3MmlL"))],
    ids=["new", "old"],
)
def test_an_invoice_names_its_subscription_in_one_of_two_places(
    found: dict[str, Any], links: tuple[str, ...]
) -> None:
    paid, failed = read("invoice.paid", found), read("invoice.payment_failed", found)
    assert (paid.kind, failed.kind) == ("paid", "payment_failed")
    assert (paid.subject, paid.links) == ("stripe:sub_1MowQV", links)
    assert (paid.amount, paid.total, paid.period_end) == (Decimal(4900), Decimal(4900), at(END))
    assert paid.products == ("price_1Mowd", "prod_NZKd")
    assert paid.email == "jennyrosen@example.com"


def test_the_credit_for_the_former_plan_says_nothing_of_what_was_bought() -> None:
    credit = LINE | {"amount": -100, "price": {"id": "price_former"}, "period": {"end": END + 9}}
    lines = {"data": [credit, *OLD_INVOICE["lines"]["data"]]}  # type: ignore[index]
    paid = read("invoice.paid", OLD_INVOICE | {"lines": lines})
    assert (paid.products, paid.period_end) == (("price_1Mowd", "prod_NZKd"), at(END))


def test_payments_refunds_and_disputes_are_connected_by_the_ids_of_the_payment() -> None:
    linked = read(
        "invoice_payment.paid",
        {"invoice": "in_1MtHbE", "payment": {"type": "payment_intent", "payment_intent": "pi_3MmlL"}},
    )
    assert (linked.kind, linked.links) == ("linked", ("in_1MtHbE", "pi_3MmlL"))
    assert read("charge.succeeded", CHARGE).links == ("ch_3MmlL", "pi_3MmlL")
    refunded = read("charge.refunded", CHARGE)
    assert (refunded.kind, refunded.links) == ("refunded", ("ch_3MmlL", "pi_3MmlL"))
    assert (refunded.amount, refunded.total) == (Decimal(4900), Decimal(4900))
    disputed = read("charge.dispute.created", DISPUTE)
    assert (disputed.kind, disputed.case, disputed.links) == (
        "disputed",
        "du_1MtJU",
        ("ch_3MmlL", "pi_3MmlL"),
    )


@pytest.mark.parametrize(
    ("event_type", "status", "kind"),
    [
        ("charge.dispute.created", "warning_needs_response", "ignored"),
        ("charge.dispute.updated", "under_review", "disputed"),
        ("charge.dispute.closed", "won", "dispute_closed"),
        ("charge.dispute.closed", "warning_closed", "dispute_closed"),
        ("charge.dispute.closed", "lost", "disputed"),
    ],
)
def test_a_dispute_counts_while_the_money_is_in_doubt_or_lost(
    event_type: str, status: str, kind: str
) -> None:
    assert read(event_type, DISPUTE | {"status": status}).kind == kind


def test_a_checkout_gives_the_buyers_addresses() -> None:
    session = {
        "id": "cs_test_a11Y",
        "customer": "cus_Na6dX7aXxi11N4",
        "customer_details": {"email": " example@example.com "},
        "custom_fields": [
            {"key": "colour", "text": {"value": "red"}},
            {"key": "discorduserid", "text": {"value": "123456789012345678"}},
        ],
        "metadata": {},
        "mode": "subscription",
        "subscription": "sub_1MowQV",
    }
    event = read("checkout.session.completed", session)
    assert (event.kind, event.subject) == ("checked_out", "stripe:sub_1MowQV")
    assert (event.email, event.discord_user_id) == ("example@example.com", "123456789012345678")
    wrong = read(
        "checkout.session.completed",
        session | {"custom_fields": [{"key": "discorduserid", "text": {"value": "Rodger#6128"}}]},
    )
    assert wrong.discord_user_id is None


@pytest.mark.parametrize(
    ("kind", "found", "why"),
    [
        ("customer.subscription.trial_will_end", SUBSCRIPTION, "type"),
        ("invoice.paid", INVOICE | {"parent": None}, "without a subscription"),
        ("checkout.session.completed", {"mode": "payment", "subscription": None}, "without a subscription"),
        ("plan.created", "anything", "type"),
    ],
)
def test_other_events_are_kept_as_ignored_with_the_reason(kind: str, found: object, why: str) -> None:
    event = read(kind, found)
    assert event.kind == "ignored"
    assert why in event.why_ignored


def test_events_of_the_other_mode_are_ignored() -> None:
    event = read("customer.subscription.created", SUBSCRIPTION, livemode=False)
    assert (event.kind, event.subject) == ("ignored", None)
    assert "test mode" in event.why_ignored


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("customer.subscription.created", {"id": 7}),
        ("customer.subscription.created", []),
        ("invoice.paid", {"lines": {"data": "many"}}),
        ("charge.refunded", {"id": None}),
        ("customer.subscription.created", SUBSCRIPTION | {"ended_at": 10**15}),
    ],
)
def test_an_object_of_another_shape_is_refused(kind: str, found: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(kind, found)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"id": "evt 1"}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        read_stripe_event(body, live=True)


def test_texts_that_are_too_long_or_not_printable_are_left_out() -> None:
    odd = read("invoice.paid", INVOICE | {"customer_email": "a\0b@example.com", "customer": "c" * 300})
    assert (odd.email, odd.customer) == (None, None)
