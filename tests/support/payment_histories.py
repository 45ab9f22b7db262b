"""Plays what customers do at the stand-ins of Stripe and Whop, and delivers the events in any order."""

import json
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from local.vendors.stripe_objects import Price
from local.vendors.stripe_shop import StripeShop, Unknown
from local.vendors.whop_shop import WhopShop
from shared.domain.access.license_changes import ended
from shared.domain.access.licenses import License, license_id_of, license_refusal
from shared.domain.payments.events import PaymentEvent, account_of
from shared.domain.payments.history import state_of
from shared.domain.payments.licensing import grace_of, settled, standing_of
from shared.domain.payments.products import plan_of
from shared.domain.payments.stripe_events import read_stripe_event
from shared.domain.payments.whop_events import read_whop_event
from tests.support.license_plans import PLANS

Vendor = Literal["stripe", "whop"]
START = 1_790_000_000
PRODUCTS = {
    "stripe:price_pro": "pro",
    "stripe:price_starter": "starter",
    "whop:plan_pro": "pro",
    "whop:plan_starter": "starter",
}
EMAIL = "buyer@example.com"
DISCORD = "123456789012345678"
ACTIONS = (
    *("renew", "fail", "pay", "cancel", "end", "refund", "part_refund", "dispute", "win", "lose"),
    *("upgrade", "downgrade"),
)


class Happened(NamedTuple):
    """An event of a vendor, and when it was sent first, in seconds."""

    at: float
    event: PaymentEvent


class Customer:
    """A customer of one vendor; `happened` has all events in the right order."""

    def __init__(self, vendor: Vendor, seed: int = 0, *, plan: str = "starter", trial_days: int = 0) -> None:
        self.vendor: Vendor = vendor
        self.now = float(START)
        self.happened: list[Happened] = []
        self._is_over = False
        chance = random.Random(seed)
        prices = {name: Price(f"price_{name}", cents) for name, cents in (("starter", 4900), ("pro", 14900))}
        plans = {"starter": ("plan_starter", 49.0), "pro": ("plan_pro", 149.0)}
        self.shop: Any = (
            StripeShop(prices, lambda: self.now, chance)
            if vendor == "stripe"
            else WhopShop(plans, lambda: self.now, chance)
        )
        self.bought: Any
        self.bought, payloads = self.shop.buy(plan, EMAIL, DISCORD, trial_days)
        self._keep(payloads)

    @property
    def subject(self) -> str:
        bought = self.bought
        return f"{self.vendor}:{bought.subscription_id if self.vendor == 'stripe' else bought.membership_id}"

    @property
    def events(self) -> list[PaymentEvent]:
        return [each.event for each in self.happened]

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def do(self, action: str) -> bool:
        """Whether the customer could do this now."""
        afterwards = ("refund", "part_refund", "dispute", "win", "lose")
        if self._is_over and action not in afterwards:
            return False
        if action in ("refund", "part_refund") and self._cents_left() <= 100:
            return False
        if action in ("renew", "fail") and not (action == "fail" and self.bought.status == "past_due"):
            if self.bought.cancel_at_period_end:
                return False
            self.now = max(self.now, self.bought.period_end)
        try:
            self._keep(self._payloads(action))
        except Unknown:
            return False
        self._is_over = self._is_over or action == "end"
        return True

    def _cents_left(self) -> float:
        """What of the last payment can be refunded still."""
        bought = self.bought
        if self.vendor == "stripe":
            return float(bought.charged - bought.refunded)
        return float(bought.paid - bought.refunded) * 100

    def _payloads(self, action: str) -> list[dict[str, Any]]:
        shop, bought = self.shop, self.bought
        match action:
            case "part_refund":
                return list(shop.refund(bought, 100))
            case "win" | "lose":
                return list(shop.settle(bought, won=action == "win"))
            case "upgrade" | "downgrade":
                return list(shop.change(bought, "pro" if action == "upgrade" else "starter"))
        return list(getattr(shop, action)(bought))

    def _keep(self, payloads: Iterable[dict[str, Any]]) -> None:
        for payload in payloads:
            self.happened.append(Happened(self.now, read(self.vendor, payload)))
        # The next action is later by Stripe's clock, too, whose events have whole seconds.
        self.now = max(self.now + 1, float(self.happened[-1].event.at.timestamp()) + 1)


def read(vendor: Vendor, payload: dict[str, Any]) -> PaymentEvent:
    body = json.dumps(payload).encode()
    if vendor == "stripe":
        return read_stripe_event(body, live=False)
    return read_whop_event(body, payload["id"])


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def delivered(happened: Sequence[Happened], chance: random.Random, longest_s: float) -> list[Happened]:
    """The events in the order of their arrival: each late by up to `longest_s`, and some more than once."""
    arrivals = [
        Happened(each.at + chance.choice((0.0, chance.uniform(0, longest_s))), each.event)
        for each in happened
        for _ in range(chance.choice((1, 1, 2, 3)))
    ]
    chance.shuffle(arrivals)
    return sorted(arrivals, key=lambda each: each.at)


class Books:
    """What the service does with the events that have come, without its servers."""

    def __init__(self) -> None:
        self.events: list[PaymentEvent] = []
        self.license: License | None = None

    def take(self, event: PaymentEvent, now: datetime) -> None:
        if event.kind == "ignored":
            return
        self.events.append(event)
        state = state_of(self.events)
        if state is None or (self.license is None and not state.started):
            return
        plan = plan_of(state, PRODUCTS, PLANS)
        before = self.license
        if before is None:
            standing = standing_of(state, grace_of(PLANS[plan]), now)
            if standing.status != "active":
                return
            before = License(
                license_id=license_id_of(state.subject),
                account_id=account_of(state.provider, state.customer or ""),
                plan=plan,
                expires_at=standing.expires_at,
                reference=state.subject,
                payment=state.subject,
                created_at=moment(START),
            )
        else:
            # The timer of endings has been here in the meantime.
            before = ended(before, now)
        self.license = settled(before, state, plan, PLANS, now)

    def play(self, arrivals: Iterable[Happened]) -> "Books":
        for each in arrivals:
            self.take(each.event, moment(each.at))
        return self

    def gives(self, now: datetime) -> dict[str, object] | None:
        """What the license gives its holder at a time; None for nothing."""
        if self.license is None or license_refusal(self.license, now) is not None:
            return None
        kept = msgspec.structs.replace(self.license, revision=0)
        return msgspec.structs.asdict(ended(kept, now))
