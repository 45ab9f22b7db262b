"""Reads Stripe's events: subscriptions, invoices, payments, refunds and disputes.

https://docs.stripe.com/api/events/object. API versions place some fields differently: since 2025 a
subscription's period is on its items, an invoice names its subscription under `parent`, and charges and
disputes name no invoice. Both places are read. A refund or dispute then finds its subscription through the
payment intent, which `invoice_payment.paid` and `charge.succeeded` connect with invoice and customer.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from shared.domain.payments.events import MAX_LINKS, PaymentEvent, Snapshot, discord_id, ids_in, short
from shared.domain.payments.stripe_payloads import (
    Charge,
    Checkout,
    CustomField,
    Dispute,
    Invoice,
    InvoicePayment,
    Line,
    Payment,
    StripeEvent,
    Subscription,
)

# Stripe lets keys of custom fields have letters and digits only.
_DISCORD_FIELD = "discorduserid"
_DISCORD_METADATA = "discord_user_id"

# In these states a dispute takes the money back, or may. An inquiry (warning_...) does not yet.
_OPEN_DISPUTES = ("needs_response", "under_review", "lost")

_RANKS = {"customer.subscription.created": 0, "customer.subscription.deleted": 2}


def read_stripe_event(body: bytes, *, live: bool) -> PaymentEvent:
    """The event in `body`; one that does not concern us, or is of the other mode, is `ignored`.

    Raises msgspec.DecodeError (msgspec.ValidationError for a field) if it is none.
    """
    event = msgspec.json.decode(body, type=StripeEvent)
    common: dict[str, Any] = {
        "provider": "stripe",
        "event_id": event.id,
        "type": event.type,
        "at": _time(event.created),
    }
    if event.livemode != live:
        mode = "live" if event.livemode else "test"
        return PaymentEvent(**common, why_ignored=f"an event of Stripe's {mode} mode, see PAYMENT_MODE")
    read = _READERS.get(event.type)
    if read is None:
        return PaymentEvent(**common, why_ignored="an event of a type that changes no license")
    return read(event, common)


def _of_subscription(event: StripeEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data.object, type=Subscription)
    former = msgspec.json.decode(event.data.previous_attributes, type=Subscription | None) or Subscription()
    start, end = _period(found)
    kind = "ended" if event.type == "customer.subscription.deleted" else _kind_of(found, former)
    ends_at = None
    if kind == "ended":
        ends_at = _time(found.ended_at or event.created)
    elif kind == "cancelled":
        ends_at = _time(found.cancel_at) if isinstance(found.cancel_at, int) else end
    return PaymentEvent(
        **common,
        kind=kind,
        subject=_subject(found.id),
        customer=short(found.customer),
        products=_products(found),
        period_start=start,
        period_end=end,
        ends_at=ends_at,
        rank=_RANKS.get(event.type, 1),
        facets=_facets(found),
        before=_facets(former),
        discord_user_id=_discord_in(found.metadata),
    )


def _kind_of(found: Subscription, former: Subscription) -> Snapshot:
    match found.status:
        case "active" | "trialing":
            if found.cancel_at_period_end or isinstance(found.cancel_at, int):
                return "cancelled"
            if former.items is not None and _products(former) != _products(found):
                return "plan_changed"
            return "trial_started" if found.status == "trialing" else "activated"
        # A trial that ended without a way to pay pauses: nothing has failed, and nothing is paid.
        case "canceled" | "incomplete_expired" | "paused":
            return "ended"
        case "past_due" | "unpaid":
            return "past_due"
    return "pending"


def _period(found: Subscription) -> tuple[datetime | None, datetime | None]:
    items = found.items.data if found.items is not None else []
    starts = [each.current_period_start for each in items if each.current_period_start is not None]
    ends = [each.current_period_end for each in items if each.current_period_end is not None]
    return (
        _time(found.current_period_start or min(starts, default=None)),
        _time(found.current_period_end or max(ends, default=None)),
    )


def _products(found: Subscription) -> tuple[str, ...]:
    return ids_in(
        part
        for item in (found.items.data if found.items is not None else [])
        for price in (item.price, item.plan)
        if price is not None
        for part in (price.id, price.product)
    )


def _facets(found: Subscription) -> dict[str, str]:
    """The values that tell snapshots of one second apart; of former values, those that are given."""
    facets: dict[str, str] = {}
    if found.status is not None:
        facets["status"] = found.status
    if found.cancel_at_period_end is not None:
        facets["cancel_at_period_end"] = str(found.cancel_at_period_end)
    if found.cancel_at is not msgspec.UNSET:
        facets["cancel_at"] = str(found.cancel_at)
    if found.items is not None:
        facets["products"] = " ".join(_products(found))
    _, end = _period(found)
    if end is not None:
        facets["period_end"] = end.isoformat()
    return facets


def _of_invoice(event: StripeEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data.object, type=Invoice)
    details = found.parent.subscription_details if found.parent is not None else None
    subscription = (details.subscription if details is not None else None) or found.subscription
    if subscription is None:
        return PaymentEvent(**common, why_ignored="an invoice without a subscription")
    payments = found.payments.data if found.payments is not None else []
    links = [found.id, found.payment_intent, found.charge]
    for each in payments:
        if each.payment is not None:
            links += [each.payment.payment_intent, each.payment.charge]
    # A line with a credit pays nothing: after a change of plan, it has the former plan.
    lines = [line for line in (found.lines.data if found.lines is not None else []) if line.amount >= 0]
    ends = [line.period.end for line in lines if line.period is not None and line.period.end is not None]
    metadata = details.metadata if details is not None else None
    older = found.subscription_details.metadata if found.subscription_details is not None else None
    return PaymentEvent(
        **common,
        kind="paid" if event.type == "invoice.paid" else "payment_failed",
        subject=_subject(subscription),
        customer=short(found.customer),
        links=ids_in(links, MAX_LINKS),
        products=ids_in(part for line in lines for part in _line_products(line)),
        period_end=_time(max(ends, default=None)),
        amount=Decimal(found.amount_paid),
        total=Decimal(found.total),
        email=short(found.customer_email),
        discord_user_id=_discord_in(metadata) or _discord_in(older),
    )


def _line_products(line: Line) -> list[str | None]:
    details = line.pricing.price_details if line.pricing is not None else None
    if details is not None:
        return [details.price, details.product]
    return [line.price.id, line.price.product] if line.price is not None else []


def _of_invoice_payment(event: StripeEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data.object, type=InvoicePayment)
    payment = found.payment or Payment()
    links = ids_in([found.invoice, payment.payment_intent, payment.charge], MAX_LINKS)
    return PaymentEvent(**common, kind="linked", links=links)


def _of_charge(event: StripeEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data.object, type=Charge)
    links = ids_in([found.id, found.payment_intent, found.invoice], MAX_LINKS)
    customer = short(found.customer)
    if event.type == "charge.succeeded":
        return PaymentEvent(**common, kind="linked", links=links, customer=customer)
    return PaymentEvent(
        **common,
        kind="refunded",
        links=links,
        customer=customer,
        case=short(found.id),  # each event has the sum of all refunds of the charge
        amount=Decimal(found.amount_refunded),
        total=Decimal(found.amount),
    )


def _of_dispute(event: StripeEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data.object, type=Dispute)
    links = ids_in([found.charge, found.payment_intent], MAX_LINKS)
    if found.status in _OPEN_DISPUTES:
        return PaymentEvent(**common, kind="disputed", links=links, case=short(found.id))
    if event.type == "charge.dispute.closed":
        return PaymentEvent(**common, kind="dispute_closed", links=links, case=short(found.id))
    return PaymentEvent(**common, why_ignored=f"a dispute with status {found.status[:40]}")


def _of_checkout(event: StripeEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data.object, type=Checkout)
    if found.subscription is None:
        return PaymentEvent(**common, why_ignored="a checkout without a subscription")
    given = next((each for each in found.custom_fields if each.key == _DISCORD_FIELD), CustomField())
    value = given.text or given.numeric
    details = found.customer_details
    return PaymentEvent(
        **common,
        kind="checked_out",
        subject=_subject(found.subscription),
        customer=short(found.customer),
        links=ids_in([found.invoice, found.payment_intent], MAX_LINKS),
        email=short(details.email if details is not None else None) or short(found.customer_email),
        discord_user_id=discord_id(value.value if value is not None else None) or _discord_in(found.metadata),
    )


def _discord_in(metadata: dict[str, Any] | None) -> str | None:
    return discord_id((metadata or {}).get(_DISCORD_METADATA))


def _subject(subscription: str) -> str | None:
    found = short(subscription)
    return f"stripe:{found}" if found is not None else None


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


_READERS = {
    "customer.subscription.created": _of_subscription,
    "customer.subscription.updated": _of_subscription,
    "customer.subscription.deleted": _of_subscription,
    "customer.subscription.paused": _of_subscription,
    "customer.subscription.resumed": _of_subscription,
    "invoice.paid": _of_invoice,
    "invoice.payment_failed": _of_invoice,
    "invoice_payment.paid": _of_invoice_payment,
    "charge.succeeded": _of_charge,
    "charge.refunded": _of_charge,
    "charge.dispute.created": _of_dispute,
    "charge.dispute.updated": _of_dispute,
    "charge.dispute.closed": _of_dispute,
    "checkout.session.completed": _of_checkout,
    "checkout.session.async_payment_succeeded": _of_checkout,
}
# What Stripe should be asked to send; docs/operations.md has the same list.
STRIPE_TYPES = tuple(_READERS)
