"""Whop's events are read in the shapes that its documentation shows for API version v1."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.domain.payments.events import PaymentEvent
from shared.domain.payments.whop_events import read_whop_event

SENT = datetime(2025, 1, 1, tzinfo=UTC)
CHANGED = datetime(2023, 12, 1, 5, 0, 0, 401_000, tzinfo=UTC)
SAMPLE_TIME = "2023-12-01T05:00:00.401Z"
USER = {
    "id": "user_xxxxxxxxxxxxx",
    "username": "johndoe42",
    "name": "John Doe",
    "email": "john.doe@example.com",
}
MEMBERSHIP = {
    "id": "mem_xxxxxxxxxxxxxx",
    "status": "trialing",
    "created_at": SAMPLE_TIME,
    "joined_at": SAMPLE_TIME,
    "updated_at": SAMPLE_TIME,
    "manage_url": "https://whop.com/billing/manage/mem_abc123",
    "member": {"id": "mber_xxxxxxxxxxxxx"},
    "user": USER,
    "renewal_period_start": SAMPLE_TIME,
    "renewal_period_end": SAMPLE_TIME,
    "cancel_at_period_end": True,
    "canceled_at": SAMPLE_TIME,
    "currency": "usd",
    "company": {"id": "biz_xxxxxxxxxxxxxx", "title": "Pickaxe"},
    "plan": {"id": "plan_xxxxxxxxxxxxx"},
    "promo_code": {"id": "promo_xxxxxxxxxxxx"},
    "product": {"id": "prod_xxxxxxxxxxxxx", "title": "Pickaxe Analytics"},
    "license_key": "A1B2C3-D4E5F6-G7H8I9",
    "metadata": {},
    "payment_collection_paused": True,
    "custom_field_responses": [],
}
PAYMENT = {
    "id": "pay_xxxxxxxxxxxxxx",
    "total": 6.9,
    "subtotal": 6.9,
    "usd_total": 6.9,
    "currency": "usd",
    "created_at": SAMPLE_TIME,
    "paid_at": SAMPLE_TIME,
    "billing_reason": "subscription_create",
    "user": USER,
    "member": {"id": "mber_xxxxxxxxxxxxx", "phone": None},
    "membership": {"id": "mem_xxxxxxxxxxxxxx", "status": "trialing"},
}
DISPUTE = {
    "id": "dspt_xxxxxxxxxxxxx",
    "amount": 6.9,
    "currency": "usd",
    "status": "needs_response",
    "plan": {"id": "plan_xxxxxxxxxxxxx"},
    "payment": PAYMENT,
}
REFUND = {
    "id": "rfnd_xxxxxxxxxxxxx",
    "amount": 6.9,
    "currency": "usd",
    "status": "succeeded",
    "payment": PAYMENT,
}


def read(kind: str, data: object) -> PaymentEvent:
    event = {
        "id": "msg_xxxxxxxxxxxxxxxxxxxxxxxx",
        "api_version": "v1",
        "timestamp": "2025-01-01T00:00:00.000Z",
        "type": kind,
        "data": data,
        "company_id": "biz_xxxxxxxxxxxxxx",
    }
    return read_whop_event(json.dumps(event).encode(), "msg_xxxxxxxxxxxxxxxxxxxxxxxx")


def test_a_membership_is_a_snapshot_of_the_time_of_its_last_change() -> None:
    event = read("membership.activated", MEMBERSHIP)
    assert (event.kind, event.at, event.ends_at) == ("cancelled", CHANGED, CHANGED)
    assert (event.subject, event.customer) == ("whop:mem_xxxxxxxxxxxxxx", "user_xxxxxxxxxxxxx")
    assert (event.products, event.email) == (
        ("plan_xxxxxxxxxxxxx", "prod_xxxxxxxxxxxxx"),
        "john.doe@example.com",
    )
    assert event.event_id == "msg_xxxxxxxxxxxxxxxxxxxxxxxx"


@pytest.mark.parametrize(
    ("event_type", "status", "kind"),
    [
        ("membership.activated", "trialing", "trial_started"),
        ("membership.activated", "active", "activated"),
        ("membership.activated", "completed", "activated"),
        ("membership.activated", "drafted", "pending"),
        ("membership.cancel_at_period_end_changed", "canceling", "cancelled"),
        ("membership.cancel_at_period_end_changed", "active", "activated"),
        ("membership.deactivated", "canceled", "ended"),
        ("membership.deactivated", "expired", "ended"),
        ("membership.deactivated", "active", "ended"),
        ("membership.deactivated", "past_due", "past_due"),
        ("membership.deactivated", "unresolved", "past_due"),
    ],
)
def test_the_type_and_the_status_say_what_a_snapshot_is(event_type: str, status: str, kind: str) -> None:
    event = read(event_type, MEMBERSHIP | {"status": status, "cancel_at_period_end": False})
    assert event.kind == kind
    assert event.ends_at == {"ended": SENT, "cancelled": CHANGED}.get(kind)


def test_a_membership_without_an_end_has_no_period() -> None:
    lasting = {"status": "completed", "cancel_at_period_end": False, "renewal_period_end": None}
    assert read("membership.activated", MEMBERSHIP | lasting).period_end is None


def test_the_discord_id_is_in_the_metadata_that_the_seller_sets() -> None:
    given = {"metadata": {"discord_user_id": "123456789012345678", "hwid": "x"}}
    assert read("membership.activated", MEMBERSHIP | given).discord_user_id == "123456789012345678"


def test_a_payment_names_its_membership_and_what_it_was_for() -> None:
    paid = read("payment.succeeded", PAYMENT | {"plan": {"id": "plan_x"}, "product": {"id": "prod_x"}})
    assert (paid.kind, paid.at, paid.subject) == ("paid", CHANGED, "whop:mem_xxxxxxxxxxxxxx")
    assert (paid.links, paid.products) == (("pay_xxxxxxxxxxxxxx",), ("plan_x", "prod_x"))
    assert (paid.amount, paid.total) == (Decimal("6.9"), Decimal("6.9"))
    failed = read("payment.failed", PAYMENT | {"paid_at": None})
    assert (failed.kind, failed.at, failed.amount) == ("payment_failed", SENT, None)
    assert read("payment.succeeded", PAYMENT | {"membership": None}).kind == "ignored"


@pytest.mark.parametrize(("status", "amount"), [("succeeded", "6.9"), ("pending", "6.9"), ("failed", "0.0")])
def test_a_refund_is_of_a_payment_unless_it_failed(status: str, amount: str) -> None:
    event = read("refund.created", REFUND | {"status": status})
    assert (event.kind, event.case, event.links) == (
        "refunded",
        "rfnd_xxxxxxxxxxxxx",
        ("pay_xxxxxxxxxxxxxx",),
    )
    assert (event.amount, event.total) == (Decimal(amount), Decimal("6.9"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("needs_response", "disputed"),
        ("under_review", "disputed"),
        ("lost", "disputed"),
        ("won", "dispute_closed"),
        ("warning_closed", "dispute_closed"),
        ("warning_needs_response", "ignored"),
        ("other", "ignored"),
    ],
)
def test_a_dispute_counts_while_the_money_is_in_doubt_or_lost(status: str, kind: str) -> None:
    event = read("dispute.updated", DISPUTE | {"status": status})
    assert event.kind == kind
    if kind != "ignored":
        assert (event.case, event.subject) == ("dspt_xxxxxxxxxxxxx", "whop:mem_xxxxxxxxxxxxxx")


def test_other_events_are_kept_as_ignored() -> None:
    event = read("membership.trial_ending_soon", MEMBERSHIP)
    assert (event.kind, event.subject) == ("ignored", None)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("membership.activated", {}),
        ("membership.activated", MEMBERSHIP | {"updated_at": "yesterday"}),
        ("membership.activated", MEMBERSHIP | {"updated_at": "2023-12-01T05:00:00"}),
        ("payment.succeeded", PAYMENT | {"total": -1}),
        ("payment.succeeded", PAYMENT | {"total": 1e300}),
        ("refund.created", []),
    ],
)
def test_data_of_another_shape_is_refused(kind: str, data: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(kind, data)


@pytest.mark.parametrize("kind", ["", "t" * 256, "a b", "a\n"])
def test_a_type_that_could_not_be_stored_is_refused(kind: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(kind, MEMBERSHIP)


def test_an_event_without_its_time_is_refused() -> None:
    for timestamp in ("2025-01-01T00:00:00", "today", 7):
        event = {"type": "membership.activated", "timestamp": timestamp, "data": MEMBERSHIP}
        with pytest.raises(msgspec.ValidationError):
            read_whop_event(json.dumps(event).encode(), "msg_1")


def test_a_refund_without_its_payment_is_of_nobody() -> None:
    event = read("refund.created", REFUND | {"payment": None})
    assert (event.kind, event.subject, event.links, event.total) == ("refunded", None, (), None)
