"""Carries out what a customer does at Stripe or Whop, and sends the events of it to the app."""

from collections.abc import Mapping
from typing import Any

import msgspec

from local.vendors.delivery import Manner, Sender
from local.vendors.stripe_objects import Price, Subscription
from local.vendors.stripe_shop import StripeShop, Unknown
from local.vendors.whop_shop import Membership, WhopShop

type Json = dict[str, Any]

CENTS = {"starter": 4_900, "pro": 14_900}
DEFAULT_CENTS = 9_900
ACTIONS = (
    *("buy", "renew", "fail", "pay", "cancel", "end"),
    *("refund", "dispute", "settle", "upgrade", "downgrade"),
)


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An action's values. `subscription` or `email` choose whose it is; without both it is the youngest.

    `plan` is ours; `cents` is for a partial refund, `won` for a settled dispute, and `now` cancels at once.
    """

    plan: str = "pro"
    email: str = ""
    discord_user_id: str = ""
    trial_days: int = 0
    subscription: str = ""
    cents: int | None = None
    won: bool = False
    now: bool = False
    manner: Manner = Manner()
    wait_s: float = 5.0


def prices_of(payment_plans: str, provider: str) -> dict[str, str]:
    """Our plans by the product ids of `provider` in the setting PAYMENT_PLANS, turned around."""
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in payment_plans.split(","))):
        product, _, plan = entry.partition("=")
        vendor, _, product_id = product.partition(":")
        if vendor == provider:
            found[plan] = product_id
    return found


class Shops:
    """Both vendors' shops, with a sender each."""

    def __init__(self, payment_plans: str, senders: Mapping[str, Sender]) -> None:
        self._senders = senders
        stripe, whop = prices_of(payment_plans, "stripe"), prices_of(payment_plans, "whop")
        self._stripe = StripeShop(
            {plan: Price(price, CENTS.get(plan, DEFAULT_CENTS)) for plan, price in stripe.items()}
        )
        self._whop = WhopShop(
            {plan: (price, CENTS.get(plan, DEFAULT_CENTS) / 100) for plan, price in whop.items()}
        )

    def deliveries(self, vendor: str) -> list[Json]:
        """What was sent, with the answers; raises Unknown for another vendor."""
        return [delivery.as_json() for delivery in self._sender(vendor).deliveries]

    async def carry_out(self, vendor: str, action: str, order: Order) -> Json:
        """Changes the subscription and sends its events; raises Unknown."""
        sender = self._sender(vendor)
        if action not in ACTIONS:
            raise Unknown(f"there is no action {action!r}; there are {', '.join(ACTIONS)}")
        shop: StripeShop | WhopShop = self._stripe if vendor == "stripe" else self._whop
        if action == "buy":
            email = order.email or "buyer@example.com"
            bought, events = shop.buy(order.plan, email, order.discord_user_id, order.trial_days)
        else:
            bought = shop.find(order.subscription, order.email)
            events = _act(shop, action, bought, order)
        deliveries = await sender.send(events, order.manner, order.wait_s)
        return {
            **_named(bought),
            "events": [{"id": event["id"], "type": event["type"]} for event in events],
            "deliveries": [delivery.as_json() for delivery in deliveries],
        }

    def _sender(self, vendor: str) -> Sender:
        if vendor not in self._senders:
            raise Unknown(f"there is no vendor {vendor!r}; there are {', '.join(self._senders)}")
        return self._senders[vendor]


def _named(bought: Subscription | Membership) -> Json:
    if isinstance(bought, Subscription):
        return {"subscription": bought.subscription_id, "customer": bought.customer_id, "email": bought.email}
    return {"subscription": bought.membership_id, "customer": bought.user_id, "email": bought.email}


def _act(shop: Any, action: str, bought: Subscription | Membership, order: Order) -> list[Json]:
    """Calls the action; both shops have the same ones."""
    events: list[Json]
    if action == "cancel":
        events = shop.cancel(bought, now=order.now)
    elif action == "refund":
        events = shop.refund(bought, order.cents)
    elif action == "settle":
        events = shop.settle(bought, won=order.won)
    elif action in ("upgrade", "downgrade"):
        events = shop.change(bought, order.plan)
    else:
        events = getattr(shop, action)(bought)
    return events
