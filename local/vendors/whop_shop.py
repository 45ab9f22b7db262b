"""Stands in for Whop's side of a sale: each action changes a membership and returns the webhooks of it."""

import random
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.vendors.stripe_objects import DAY_S, MONTH_S
from local.vendors.stripe_shop import Unknown

type Json = dict[str, Any]

_LETTERS = string.ascii_letters + string.digits


@dataclass
class Membership:
    """What Whop knows of a membership and its last payment; times in seconds since 1970."""

    membership_id: str
    user_id: str
    email: str
    plan_id: str
    dollars: float
    created: float
    period_start: float
    period_end: float
    status: str = "active"
    cancel_at_period_end: bool = False
    canceled_at: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    payment_id: str = ""
    paid: float = 0.0
    refunded: float = 0.0
    dispute_id: str = ""

    def as_json(self, at: float) -> Json:
        return {
            "id": self.membership_id,
            "cancel_at_period_end": self.cancel_at_period_end,
            "canceled_at": _time(self.canceled_at),
            "cancellation_reason": None,
            "company": {"id": "biz_standin0000000", "title": "Stand-in"},
            "created_at": _time(self.created),
            "currency": "usd",
            "custom_field_responses": [],
            "joined_at": _time(self.created),
            "license_key": None,
            "manage_url": f"https://whop.com/billing/manage/{self.membership_id}",
            "member": {"id": self.user_id.replace("user_", "mber_", 1)},
            "metadata": dict(self.metadata),
            "payment_collection_paused": False,
            "plan": {"id": self.plan_id},
            "product": self.product(),
            "promo_code": None,
            "renewal_period_end": _time(self.period_end),
            "renewal_period_start": _time(self.period_start),
            "status": self.status,
            "updated_at": _time(at),
            "user": self.user(),
        }

    def user(self) -> Json:
        name = self.email.partition("@")[0]
        return {"id": self.user_id, "username": name, "name": name, "email": self.email}

    def product(self) -> Json:
        return {"id": self.plan_id.replace("plan_", "prod_", 1), "title": "Signal Cloud"}

    def payment(self, status: str, reason: str, at: float) -> Json:
        """The last payment: `status` is `paid` or `open`."""
        return {
            "id": self.payment_id,
            "amount_after_fees": self.dollars,
            "billing_reason": reason,
            "company": {"id": "biz_standin0000000", "title": "Stand-in"},
            "created_at": _time(at),
            "currency": "usd",
            "failure_message": None if status == "paid" else "Your card was declined.",
            "last_payment_attempt": _time(at),
            "member": {"id": self.user_id.replace("user_", "mber_", 1), "phone": None},
            "membership": {"id": self.membership_id, "status": self.status},
            "metadata": dict(self.metadata),
            "paid_at": _time(at) if status == "paid" else None,
            "plan": {"id": self.plan_id},
            "product": self.product(),
            "refunded_amount": self.refunded,
            "refunded_at": _time(at) if self.refunded else None,
            "status": status,
            "substatus": "succeeded" if status == "paid" else "past_due",
            "subtotal": self.dollars,
            "total": self.dollars,
            "usd_total": self.dollars,
            "user": self.user(),
        }


class WhopShop:
    """Memberships by id; the clock moves by at least a millisecond with each webhook."""

    def __init__(
        self,
        plans: Mapping[str, tuple[str, float]],
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        """`plans` maps our plan to Whop's plan id and its price in dollars."""
        self.memberships: dict[str, Membership] = {}
        self._plans = plans
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - ids of a stand-in
        self._now = 0.0

    def buy(
        self, plan: str, email: str, discord_user_id: str = "", trial_days: int = 0
    ) -> tuple[Membership, list[Json]]:
        """A user buys a membership."""
        plan_id, dollars = self._plan(plan)
        at = self._tick()
        end = at + (trial_days * DAY_S if trial_days else MONTH_S)
        bought = Membership(
            self._id("mem_"),
            self._id("user_", 13),
            email,
            plan_id,
            dollars,
            at,
            at,
            end,
            status="trialing" if trial_days else "active",
            metadata={"discord_user_id": discord_user_id} if discord_user_id else {},
        )
        self.memberships[bought.membership_id] = bought
        events = [self._event("membership.activated", bought.as_json(at))]
        if not trial_days:
            events.append(self._pay(bought, "subscription_create"))
        return bought, events

    def renew(self, bought: Membership) -> list[Json]:
        """The next period begins and is paid."""
        bought.period_start, bought.period_end = bought.period_end, bought.period_end + MONTH_S
        bought.status = "active"
        return [self._pay(bought, "subscription_cycle"), self._activated(bought)]

    def fail(self, bought: Membership) -> list[Json]:
        """The next period begins, but its payment fails."""
        if bought.status != "past_due":
            bought.period_start, bought.period_end = bought.period_end, bought.period_end + MONTH_S
            bought.payment_id = self._id("pay_")
        bought.status = "past_due"
        return [self._event("payment.failed", bought.payment("open", "subscription_cycle", self._tick()))]

    def pay(self, bought: Membership) -> list[Json]:
        """What is owed is paid."""
        if bought.status != "past_due":
            raise Unknown("nothing is owed: the membership is not past due")
        bought.status = "active"
        payment = bought.payment("paid", "subscription_cycle", self._tick())
        bought.paid, bought.refunded = bought.dollars, 0.0
        return [self._event("payment.succeeded", payment), self._activated(bought)]

    def cancel(self, bought: Membership, *, now: bool = False) -> list[Json]:
        """The user cancels: at the period's end, or at once."""
        if now:
            return self.end(bought)
        at = self._tick()
        bought.cancel_at_period_end, bought.canceled_at = True, at
        bought.status = "canceling"
        return [self._event("membership.cancel_at_period_end_changed", bought.as_json(at))]

    def end(self, bought: Membership) -> list[Json]:
        """The membership is over."""
        at = self._tick()
        bought.status, bought.canceled_at = "canceled", bought.canceled_at or at
        return [self._event("membership.deactivated", bought.as_json(at))]

    def refund(self, bought: Membership, cents: int | None = None) -> list[Json]:
        """The last payment is refunded, in full without `cents`."""
        at = self._tick()
        amount = bought.paid - bought.refunded if cents is None else cents / 100
        bought.refunded += amount
        payment = bought.payment("paid", "subscription_cycle", at)
        refund = {
            "id": self._id("rfnd_"),
            "amount": amount,
            "created_at": _time(at),
            "currency": "usd",
            "payment": payment,
            "status": "succeeded",
        }
        return [self._event("refund.created", refund)]

    def dispute(self, bought: Membership) -> list[Json]:
        """The user disputes the last payment at the bank."""
        bought.dispute_id = self._id("dspt_")
        return [self._dispute(bought, "dispute.created", "needs_response")]

    def settle(self, bought: Membership, *, won: bool) -> list[Json]:
        """The bank decides the dispute, for the seller if `won`."""
        if not bought.dispute_id:
            raise Unknown("there is no dispute")
        return [self._dispute(bought, "dispute.updated", "won" if won else "lost")]

    def change(self, bought: Membership, plan: str) -> list[Json]:
        """The user changes the plan."""
        bought.plan_id, bought.dollars = self._plan(plan)
        return [self._activated(bought), self._pay(bought, "subscription_update")]

    def find(self, membership_id: str = "", email: str = "") -> Membership:
        """The membership of this id, else the youngest of this email, else the youngest; raises Unknown."""
        for bought in reversed(self.memberships.values()):
            if membership_id in ("", bought.membership_id) and email in ("", bought.email):
                return bought
        raise Unknown("there is no such membership: buy one first")

    def _plan(self, plan: str) -> tuple[str, float]:
        if plan not in self._plans:
            raise Unknown(f"Whop sells no plan {plan!r}; there are {', '.join(self._plans)}")
        return self._plans[plan]

    def _pay(self, bought: Membership, reason: str) -> Json:
        bought.payment_id, bought.paid, bought.refunded = self._id("pay_"), bought.dollars, 0.0
        return self._event("payment.succeeded", bought.payment("paid", reason, self._tick()))

    def _activated(self, bought: Membership) -> Json:
        return self._event("membership.activated", bought.as_json(self._tick()))

    def _dispute(self, bought: Membership, kind: str, status: str) -> Json:
        at = self._tick()
        dispute = {
            "id": bought.dispute_id,
            "amount": bought.dollars,
            "created_at": _time(at),
            "currency": "usd",
            "payment": bought.payment("paid", "subscription_cycle", at),
            "plan": {"id": bought.plan_id},
            "product": bought.product(),
            "reason": "Product Not Received",
            "status": status,
        }
        return self._event(kind, dispute)

    def _event(self, kind: str, data: Json) -> Json:
        return {
            "id": self._id("msg_", 24),
            "api_version": "v1",
            "company_id": "biz_standin0000000",
            "data": data,
            "timestamp": _time(self._tick()),
            "type": kind,
        }

    def _tick(self) -> float:
        self._now = max(self._clock(), self._now + 0.001)
        return self._now

    def _id(self, prefix: str, length: int = 14) -> str:
        return prefix + "".join(self._chance.choices(_LETTERS, k=length))


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
