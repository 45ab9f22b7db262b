"""Builds Stripe's objects in the shape of the API version that the library `stripe` 16.1 is made for.

Since 2025 the period is on a subscription's items, an invoice names its subscription under `parent`, and a
charge names no invoice: `invoice_payment` links the invoice to the payment intent of the charge.
"""

from dataclasses import dataclass, field
from typing import Any

type Json = dict[str, Any]

API_VERSION = "2026-10-28.endive"
DAY_S = 86_400
MONTH_S = 30 * DAY_S


@dataclass(frozen=True)
class Price:
    """A recurring price; `cents` a month."""

    price_id: str
    cents: int
    currency: str = "usd"

    def as_json(self) -> Json:
        return {
            "id": self.price_id,
            "object": "price",
            "active": True,
            "currency": self.currency,
            "livemode": False,
            "product": self.price_id.replace("price_", "prod_", 1),
            "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
            "type": "recurring",
            "unit_amount": self.cents,
        }


@dataclass
class Subscription:
    """What Stripe knows of a subscription, its customer and its last invoice; times in seconds since 1970."""

    subscription_id: str
    customer_id: str
    email: str
    price: Price
    created: int
    period_start: int
    period_end: int
    status: str = "active"
    trial_end: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    ended_at: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    invoice_id: str = ""
    charge_id: str = ""
    payment_intent_id: str = ""
    dispute_id: str = ""
    charged: int = 0
    refunded: int = 0
    attempts: int = 0

    def as_json(self) -> Json:
        item = {
            "id": self.subscription_id.replace("sub_", "si_", 1),
            "object": "subscription_item",
            "created": self.created,
            "current_period_end": self.period_end,
            "current_period_start": self.period_start,
            "metadata": {},
            "price": self.price.as_json(),
            "quantity": 1,
            "subscription": self.subscription_id,
        }
        return {
            "id": self.subscription_id,
            "object": "subscription",
            "billing_cycle_anchor": self.created,
            "cancel_at": self.period_end if self.cancel_at_period_end else None,
            "cancel_at_period_end": self.cancel_at_period_end,
            "canceled_at": self.canceled_at,
            "collection_method": "charge_automatically",
            "created": self.created,
            "currency": self.price.currency,
            "customer": self.customer_id,
            "ended_at": self.ended_at,
            "items": {
                "object": "list",
                "data": [item],
                "has_more": False,
                "total_count": 1,
                "url": f"/v1/subscription_items?subscription={self.subscription_id}",
            },
            "latest_invoice": self.invoice_id or None,
            "livemode": False,
            "metadata": dict(self.metadata),
            "start_date": self.created,
            "status": self.status,
            "trial_end": self.trial_end,
            "trial_start": self.created if self.trial_end else None,
        }

    def invoice(self, status: str, reason: str, at: int) -> Json:
        """The last invoice, in a state such as `paid` or `open`."""
        paid = self.charged if status == "paid" else 0
        line = {
            "id": self.invoice_id.replace("in_", "il_", 1),
            "object": "line_item",
            "amount": self.charged,
            "currency": self.price.currency,
            "parent": {
                "type": "subscription_item_details",
                "subscription_item_details": {
                    "proration": reason == "subscription_update",
                    "subscription": self.subscription_id,
                    "subscription_item": self.subscription_id.replace("sub_", "si_", 1),
                },
            },
            "period": {"start": self.period_start, "end": self.period_end},
            "pricing": {
                "type": "price_details",
                "price_details": {
                    "price": self.price.price_id,
                    "product": self.price.as_json()["product"],
                },
                "unit_amount_decimal": str(self.charged),
            },
            "quantity": 1,
        }
        return {
            "id": self.invoice_id,
            "object": "invoice",
            "amount_due": self.charged,
            "amount_paid": paid,
            "amount_remaining": self.charged - paid,
            "attempt_count": self.attempts,
            "attempted": self.attempts > 0,
            "billing_reason": reason,
            "collection_method": "charge_automatically",
            "created": at,
            "currency": self.price.currency,
            "customer": self.customer_id,
            "customer_email": self.email,
            "lines": {"object": "list", "data": [line], "has_more": False, "total_count": 1},
            "livemode": False,
            "metadata": {},
            "next_payment_attempt": None if status == "paid" else at + 3 * DAY_S,
            "parent": {
                "type": "subscription_details",
                "quote_details": None,
                "subscription_details": {
                    "metadata": dict(self.metadata),
                    "subscription": self.subscription_id,
                },
            },
            "period_end": self.period_start,
            "period_start": self.period_start,
            "status": status,
            "total": self.charged,
        }

    def invoice_payment(self, at: int) -> Json:
        """What links the last invoice to its payment intent."""
        return {
            "id": self.invoice_id.replace("in_", "inpay_", 1),
            "object": "invoice_payment",
            "amount_paid": self.charged,
            "amount_requested": self.charged,
            "created": at,
            "currency": self.price.currency,
            "invoice": self.invoice_id,
            "is_default": True,
            "livemode": False,
            "payment": {"type": "payment_intent", "payment_intent": self.payment_intent_id},
            "status": "paid",
        }

    def charge(self, at: int) -> Json:
        """The last charge, refunded as far as it is."""
        return {
            "id": self.charge_id,
            "object": "charge",
            "amount": self.charged,
            "amount_captured": self.charged,
            "amount_refunded": self.refunded,
            "billing_details": {"email": self.email, "name": None, "phone": None},
            "captured": True,
            "created": at,
            "currency": self.price.currency,
            "customer": self.customer_id,
            "disputed": bool(self.dispute_id),
            "livemode": False,
            "metadata": {},
            "paid": True,
            "payment_intent": self.payment_intent_id,
            "refunded": self.refunded >= self.charged,
            "status": "succeeded",
        }

    def dispute(self, status: str, at: int) -> Json:
        """The dispute of the last charge; it names no customer."""
        return {
            "id": self.dispute_id,
            "object": "dispute",
            "amount": self.charged,
            "charge": self.charge_id,
            "created": at,
            "currency": self.price.currency,
            "is_charge_refundable": False,
            "livemode": False,
            "metadata": {},
            "payment_intent": self.payment_intent_id,
            "reason": "fraudulent",
            "status": status,
        }

    def checkout(self, session_id: str, at: int) -> Json:
        """The checkout session by which the customer subscribed."""
        user = self.metadata.get("discord_user_id")
        name_field = {"key": "discorduserid", "label": {"type": "custom", "custom": "Discord user id"}}
        return {
            "id": session_id,
            "object": "checkout.session",
            "amount_total": self.charged,
            "client_reference_id": None,
            "created": at,
            "currency": self.price.currency,
            "custom_fields": [{**name_field, "type": "text", "text": {"value": user}}] if user else [],
            "customer": self.customer_id,
            "customer_details": {"email": self.email, "name": None, "phone": None},
            "customer_email": None,
            "invoice": self.invoice_id or None,
            "livemode": False,
            "metadata": dict(self.metadata),
            "mode": "subscription",
            "payment_status": "paid" if self.charged else "no_payment_required",
            "status": "complete",
            "subscription": self.subscription_id,
        }
