"""Describes the parts of Stripe's objects that we read; everything else in them is ignored.

Since 2025 a subscription's period is on its items, an invoice names its subscription under `parent`, and
charges and disputes name no invoice. Events of older API versions have the older places.
"""

from typing import Annotated, Any

import msgspec

from shared.domain.payments.events import MAX_TEXT

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT, pattern=r"^[!-~]+\Z")]


class Price(msgspec.Struct):
    id: str | None = None
    product: str | None = None


class Item(msgspec.Struct):
    price: Price | None = None
    plan: Price | None = None
    current_period_start: _Seconds | None = None
    current_period_end: _Seconds | None = None


class Items(msgspec.Struct):
    data: list[Item] = []


class Subscription(msgspec.Struct):
    """A subscription, or the former values of some of its fields."""

    id: str = ""
    customer: str | None = None
    status: str | None = None
    cancel_at_period_end: bool | None = None
    cancel_at: _Seconds | msgspec.UnsetType | None = msgspec.UNSET
    ended_at: _Seconds | None = None
    current_period_start: _Seconds | None = None
    current_period_end: _Seconds | None = None
    items: Items | None = None
    metadata: dict[str, Any] | None = None


class Details(msgspec.Struct):
    subscription: str | None = None
    metadata: dict[str, Any] | None = None


class Parent(msgspec.Struct):
    subscription_details: Details | None = None


class PriceDetails(msgspec.Struct):
    price: str | None = None
    product: str | None = None


class Pricing(msgspec.Struct):
    price_details: PriceDetails | None = None


class Period(msgspec.Struct):
    end: _Seconds | None = None


class Line(msgspec.Struct):
    period: Period | None = None
    price: Price | None = None
    pricing: Pricing | None = None
    amount: int = 0


class Lines(msgspec.Struct):
    data: list[Line] = []


class Payment(msgspec.Struct):
    payment_intent: str | None = None
    charge: str | None = None


class InvoicePayment(msgspec.Struct):
    invoice: str | None = None
    payment: Payment | None = None


class InvoicePayments(msgspec.Struct):
    data: list[InvoicePayment] = []


class Invoice(msgspec.Struct):
    id: str | None = None
    customer: str | None = None
    customer_email: str | None = None
    subscription: str | None = None
    parent: Parent | None = None
    subscription_details: Details | None = None
    lines: Lines | None = None
    payment_intent: str | None = None
    charge: str | None = None
    payments: InvoicePayments | None = None
    amount_paid: int = 0
    total: int = 0


class Charge(msgspec.Struct):
    id: str
    customer: str | None = None
    invoice: str | None = None
    payment_intent: str | None = None
    amount: int = 0
    amount_refunded: int = 0


class Dispute(msgspec.Struct):
    id: str
    status: str
    charge: str | None = None
    payment_intent: str | None = None


class CustomerDetails(msgspec.Struct):
    email: str | None = None


class CustomValue(msgspec.Struct):
    value: str | None = None


class CustomField(msgspec.Struct):
    key: str = ""
    text: CustomValue | None = None
    numeric: CustomValue | None = None


class Checkout(msgspec.Struct):
    mode: str = ""
    customer: str | None = None
    subscription: str | None = None
    invoice: str | None = None
    payment_intent: str | None = None
    customer_email: str | None = None
    customer_details: CustomerDetails | None = None
    custom_fields: list[CustomField] = []
    metadata: dict[str, Any] | None = None


class Data(msgspec.Struct):
    object: msgspec.Raw
    previous_attributes: msgspec.Raw = msgspec.Raw(b"null")


class StripeEvent(msgspec.Struct):
    """The envelope of an event, as far as we read it."""

    id: _Text
    type: _Text
    created: _Seconds
    data: Data
    livemode: bool = False
