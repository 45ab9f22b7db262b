"""Reads Whop's events: memberships, payments, refunds and disputes.

https://docs.whop.com/developer/guides/webhooks, API version v1. Amounts have the currency's own unit.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from shared.domain.payments.events import MAX_TEXT, PaymentEvent, Snapshot, discord_id, ids_in, short

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)] | _Seconds | None
_Amount = Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)]


class _Named(msgspec.Struct):
    id: str | None = None


class _User(msgspec.Struct):
    id: str | None = None
    email: str | None = None


class _Membership(msgspec.Struct):
    id: str
    status: str = ""
    user: _User | None = None
    plan: _Named | None = None
    product: _Named | None = None
    renewal_period_start: _Time = None
    renewal_period_end: _Time = None
    cancel_at_period_end: bool = False
    updated_at: _Time = None
    metadata: dict[str, Any] | None = None


class _Payment(msgspec.Struct):
    id: str | None = None
    membership: _Named | None = None
    user: _User | None = None
    plan: _Named | None = None
    product: _Named | None = None
    total: _Amount | None = None
    paid_at: _Time = None


class _Refund(msgspec.Struct):
    id: str
    status: str = ""
    amount: _Amount = 0.0
    payment: _Payment | None = None


class _Dispute(msgspec.Struct):
    id: str
    status: str = ""
    payment: _Payment | None = None


class WhopEvent(msgspec.Struct):
    """The envelope of an event, as far as we read it."""

    type: Annotated[str, msgspec.Meta(max_length=MAX_TEXT, pattern=r"^[!-~]+\Z")]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    data: msgspec.Raw


_RANKS = {"membership.activated": 0, "membership.deactivated": 2}
_OPEN_DISPUTES = ("needs_response", "under_review", "lost")
_CLOSED_DISPUTES = ("won", "closed", "warning_closed")
# A refund in one of these states gives nothing back.
_NO_REFUND = ("failed", "canceled", "rejected")


def read_whop_event(body: bytes, event_id: str) -> PaymentEvent:
    """The event in `body`, whose id is in a header; one that does not concern us is `ignored`.

    Raises msgspec.DecodeError (msgspec.ValidationError for a field) if it is none.
    """
    event = msgspec.json.decode(body, type=WhopEvent)
    common: dict[str, Any] = {"provider": "whop", "event_id": event_id, "type": event.type}
    match event.type:
        case "membership.activated" | "membership.deactivated" | "membership.cancel_at_period_end_changed":
            return _of_membership(event, common)
        case "payment.succeeded" | "payment.failed":
            return _of_payment(event, common)
        case "refund.created" | "refund.updated":
            refund = msgspec.json.decode(event.data, type=_Refund)
            amount = _exact(0.0 if refund.status in _NO_REFUND else refund.amount)
            total = _exact(refund.payment.total) if refund.payment is not None else None
            common |= {"kind": "refunded", "case": short(refund.id), "amount": amount, "total": total}
            return _about(refund.payment, event.timestamp, common)
        case "dispute.created" | "dispute.updated":
            return _of_dispute(event, common)
    return PaymentEvent(
        **common, at=event.timestamp, why_ignored="an event of a type that changes no license"
    )


def _of_membership(event: WhopEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data, type=_Membership)
    user = found.user or _User()
    at = event.timestamp
    kind = _kind_of(event.type, found)
    end = _time(found.renewal_period_end)
    return PaymentEvent(
        **common,
        # The time of what the snapshot shows; the event may have been sent later.
        at=_time(found.updated_at) or at,
        kind=kind,
        subject=_subject(found.id),
        customer=short(user.id),
        products=_products(found.plan, found.product),
        period_start=_time(found.renewal_period_start),
        period_end=end,
        ends_at=at if kind == "ended" else end if kind == "cancelled" else None,
        rank=_RANKS.get(event.type, 1),
        email=short(user.email),
        discord_user_id=discord_id((found.metadata or {}).get("discord_user_id")),
    )


def _kind_of(event_type: str, found: _Membership) -> Snapshot:
    if found.status in ("past_due", "unresolved"):
        return "past_due"
    if event_type == "membership.deactivated" or found.status in ("canceled", "expired"):
        return "ended"
    if found.status == "drafted":
        return "pending"
    if found.cancel_at_period_end or found.status == "canceling":
        return "cancelled"
    return "trial_started" if found.status == "trialing" else "activated"


def _of_payment(event: WhopEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data, type=_Payment)
    if found.membership is None or short(found.membership.id) is None:
        return PaymentEvent(**common, at=event.timestamp, why_ignored="a payment without a membership")
    is_paid = event.type == "payment.succeeded"
    common["kind"] = "paid" if is_paid else "payment_failed"
    total = _exact(found.total)
    common |= {"amount": total if is_paid else None, "total": total}
    return _about(found, (_time(found.paid_at) if is_paid else None) or event.timestamp, common)


def _of_dispute(event: WhopEvent, common: dict[str, Any]) -> PaymentEvent:
    found = msgspec.json.decode(event.data, type=_Dispute)
    if found.status in _OPEN_DISPUTES:
        common["kind"] = "disputed"
    elif found.status in _CLOSED_DISPUTES:
        common["kind"] = "dispute_closed"
    else:
        reason = f"a dispute with status {found.status[:40]}"
        return PaymentEvent(**common, at=event.timestamp, why_ignored=reason)
    return _about(found.payment, event.timestamp, common | {"case": short(found.id)})


def _about(payment: _Payment | None, at: datetime, common: dict[str, Any]) -> PaymentEvent:
    """An event about a payment, which names its membership itself."""
    found = payment or _Payment()
    user = found.user or _User()
    return PaymentEvent(
        **common,
        at=at,
        subject=_subject(found.membership.id if found.membership is not None else None),
        customer=short(user.id),
        links=ids_in([found.id]),
        products=_products(found.plan, found.product),
        email=short(user.email),
    )


def _products(plan: _Named | None, product: _Named | None) -> tuple[str, ...]:
    return ids_in(each.id for each in (plan, product) if each is not None)


def _subject(membership: str | None) -> str | None:
    found = short(membership)
    return f"whop:{found}" if found is not None else None


def _time(given: datetime | int | None) -> datetime | None:
    return datetime.fromtimestamp(given, UTC) if isinstance(given, int) else given


def _exact(amount: float | None) -> Decimal | None:
    """The amount that Whop's JSON number means: no currency has more than four decimals."""
    return None if amount is None else Decimal(repr(round(amount, 4)))
