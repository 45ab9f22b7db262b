"""Stands in for Stripe's side of a sale: each action changes a subscription and returns the events of it."""

import copy
import random
import string
import time
from collections.abc import Callable, Mapping
from typing import Any

from local.vendors.stripe_objects import API_VERSION, DAY_S, MONTH_S, Price, Subscription

type Json = dict[str, Any]

_LETTERS = string.ascii_letters + string.digits


class Unknown(Exception):
    """The shop has no such plan or subscription, or the subscription cannot do this now."""


class StripeShop:
    """Subscriptions by id. All events of one action have the same `created`, as Stripe's often have; no two
    actions share one, because each moves the shop's clock by at least a second."""

    def __init__(
        self,
        prices: Mapping[str, Price],
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
        live: bool = False,
    ) -> None:
        """`prices` are by plan."""
        self.subscriptions: dict[str, Subscription] = {}
        self._prices = prices
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - ids of a stand-in
        self._live = live
        self._now = 0

    def buy(
        self, plan: str, email: str, discord_user_id: str = "", trial_days: int = 0
    ) -> tuple[Subscription, list[Json]]:
        """A customer subscribes at the checkout."""
        at = self._tick()
        metadata = {"discord_user_id": discord_user_id} if discord_user_id else {}
        trial_end = at + trial_days * DAY_S if trial_days else None
        bought = Subscription(
            self._id("sub_"),
            self._id("cus_", 14),
            email,
            self._price(plan),
            at,
            at,
            trial_end or at + MONTH_S,
            status="trialing" if trial_end else "incomplete",
            trial_end=trial_end,
            metadata=metadata,
        )
        self.subscriptions[bought.subscription_id] = bought
        self._bill(bought, 0 if trial_end else bought.price.cents)
        events = [self._event("customer.subscription.created", bought.as_json(), at)]
        if not trial_end:
            bought.status = "active"
            events += self._paid(bought, "subscription_create", at)
            events.append(self._updated(bought, {"status": "incomplete"}, at))
        else:
            events.append(self._event("invoice.paid", bought.invoice("paid", "subscription_create", at), at))
        session = bought.checkout(self._id("cs_test_", 58), at)
        events.append(self._event("checkout.session.completed", session, at))
        return bought, events

    def renew(self, bought: Subscription) -> list[Json]:
        """The next period begins and is paid; ends a trial, too."""
        at = self._tick()
        before = self._next_period(bought)
        self._bill(bought, bought.price.cents)
        bought.status = "active"
        return [self._updated(bought, before, at), *self._paid(bought, "subscription_cycle", at)]

    def fail(self, bought: Subscription) -> list[Json]:
        """The next period begins, but its payment fails; a further call is a further attempt."""
        at = self._tick()
        events = []
        if bought.status != "past_due":
            before = self._next_period(bought)
            self._bill(bought, bought.price.cents)
            events.append(self._updated(bought, before, at))
        bought.attempts += 1
        was, bought.status = bought.status, "past_due"
        invoice = bought.invoice("open", "subscription_cycle", at)
        events.append(self._event("invoice.payment_failed", invoice, at))
        if was != "past_due":
            events.append(self._updated(bought, {"status": was}, at))
        return events

    def pay(self, bought: Subscription) -> list[Json]:
        """The open invoice is paid; raises Unknown if there is none."""
        if bought.status != "past_due":
            raise Unknown("nothing is owed: the subscription is not past due")
        at = self._tick()
        bought.status = "active"
        paid = self._paid(bought, "subscription_cycle", at)
        return [*paid, self._updated(bought, {"status": "past_due"}, at)]

    def cancel(self, bought: Subscription, *, now: bool = False) -> list[Json]:
        """The customer cancels: at the period's end, or at once."""
        if now:
            return self.end(bought)
        at = self._tick()
        bought.cancel_at_period_end, bought.canceled_at = True, at
        before = {"cancel_at_period_end": False, "cancel_at": None, "canceled_at": None}
        return [self._updated(bought, before, at)]

    def end(self, bought: Subscription) -> list[Json]:
        """The subscription is over."""
        at = self._tick()
        bought.status, bought.ended_at = "canceled", at
        bought.canceled_at = bought.canceled_at or at
        return [self._event("customer.subscription.deleted", bought.as_json(), at)]

    def refund(self, bought: Subscription, cents: int | None = None) -> list[Json]:
        """The last charge is refunded, in full without `cents`."""
        at = self._tick()
        left = bought.charged - bought.refunded
        bought.refunded += left if cents is None else min(cents, left)
        return [self._event("charge.refunded", bought.charge(at), at)]

    def dispute(self, bought: Subscription) -> list[Json]:
        """The customer disputes the last charge at the bank."""
        at = self._tick()
        bought.dispute_id = self._id("du_")
        return [self._event("charge.dispute.created", bought.dispute("needs_response", at), at)]

    def settle(self, bought: Subscription, *, won: bool) -> list[Json]:
        """The bank decides the dispute, for the seller if `won`."""
        if not bought.dispute_id:
            raise Unknown("there is no dispute")
        at = self._tick()
        return [self._event("charge.dispute.closed", bought.dispute("won" if won else "lost", at), at)]

    def change(self, bought: Subscription, plan: str) -> list[Json]:
        """The customer changes the plan; a dearer one is charged at once."""
        at = self._tick()
        before, old = {"items": bought.as_json()["items"]}, bought.price
        bought.price = self._price(plan)
        events = [self._updated(bought, before, at)]
        if bought.price.cents > old.cents:
            self._bill(bought, bought.price.cents - old.cents)
            events += self._paid(bought, "subscription_update", at)
        return events

    def find(self, subscription_id: str = "", email: str = "") -> Subscription:
        """The subscription of this id, else the youngest of this email, else the youngest; raises Unknown."""
        for bought in reversed(self.subscriptions.values()):
            if subscription_id in ("", bought.subscription_id) and email in ("", bought.email):
                return bought
        raise Unknown("there is no such subscription: buy one first")

    def _price(self, plan: str) -> Price:
        if plan not in self._prices:
            raise Unknown(f"no price is set for the plan {plan!r}; there are {', '.join(self._prices)}")
        return self._prices[plan]

    def _paid(self, bought: Subscription, reason: str, at: int) -> list[Json]:
        bought.attempts += 1
        return [
            self._event("charge.succeeded", bought.charge(at), at),
            self._event("invoice.paid", bought.invoice("paid", reason, at), at),
            self._event("invoice_payment.paid", bought.invoice_payment(at), at),
        ]

    def _bill(self, bought: Subscription, cents: int) -> None:
        bought.invoice_id, bought.charge_id = self._id("in_"), self._id("ch_")
        bought.payment_intent_id = self._id("pi_")
        bought.dispute_id, bought.charged, bought.refunded, bought.attempts = "", cents, 0, 0

    @staticmethod
    def _next_period(bought: Subscription) -> Json:
        """Moves the subscription to its next period; the former values."""
        before = {"items": bought.as_json()["items"], "status": bought.status}
        bought.period_start, bought.period_end = bought.period_end, bought.period_end + MONTH_S
        return before

    def _updated(self, bought: Subscription, before: Json, at: int) -> Json:
        changed = {name: value for name, value in before.items() if bought.as_json().get(name) != value}
        return self._event("customer.subscription.updated", bought.as_json(), at, changed)

    def _event(self, kind: str, snapshot: Json, at: int, before: Json | None = None) -> Json:
        data: Json = {"object": copy.deepcopy(snapshot)}
        if self._live:
            data["object"]["livemode"] = True
        if before is not None:
            data["previous_attributes"] = before
        return {
            "id": self._id("evt_"),
            "object": "event",
            "api_version": API_VERSION,
            "created": at,
            "data": data,
            "livemode": self._live,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }

    def _tick(self) -> int:
        self._now = max(int(self._clock()), self._now + 1)
        return self._now

    def _id(self, prefix: str, length: int = 24) -> str:
        return prefix + "".join(self._chance.choices(_LETTERS, k=length))
