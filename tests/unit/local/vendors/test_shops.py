"""The stand-ins of Stripe and Whop send what the vendors send, signed as the vendors sign it."""

import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe
from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from local.stack.ports import free_ports
from local.vendors.stripe_objects import MONTH_S, Price
from local.vendors.stripe_shop import StripeShop, Unknown
from local.vendors.whop_shop import WhopShop
from tests.support.vendors import STRIPE_SECRET, WHOP_SECRET, VendorStandIns, vendor_stand_ins

NOW = 1_790_000_000


@dataclass
class App:
    """Takes payment events as the app would, and refuses the first `failing` of them."""

    failing: int = 0
    taken: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        if self.failing > 0:
            self.failing -= 1
            return web.Response(status=503)
        self.taken.append((request.path, dict(request.headers), await request.read()))
        return web.Response(status=202)

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, _, body in self.taken]


@pytest.fixture
async def app() -> AsyncIterator[tuple[App, VendorStandIns]]:
    taking = App()
    server = web.Application()
    server.add_routes([web.post("/api/webhooks/{vendor}", taking.take)])
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with vendor_stand_ins(f"http://127.0.0.1:{port}") as vendors:
        yield taking, vendors
    await runner.cleanup()


def stripe_shop() -> StripeShop:
    prices = {"starter": Price("price_starter", 4_900), "pro": Price("price_pro", 14_900)}
    return StripeShop(prices, lambda: NOW, random.Random(7))


def test_a_purchase_at_stripe_has_the_published_shape() -> None:
    bought, events = stripe_shop().buy("pro", "a@example.com", "53908232506183680")
    by_type = {event["type"]: event["data"]["object"] for event in events}
    assert {event["created"] for event in events} == {NOW}
    invoice, session = by_type["invoice.paid"], by_type["checkout.session.completed"]
    assert invoice["parent"]["subscription_details"]["subscription"] == bought.subscription_id
    assert invoice["lines"]["data"][0]["pricing"]["price_details"]["price"] == "price_pro"
    subscription = by_type["customer.subscription.updated"]
    assert subscription["items"]["data"][0]["current_period_end"] == NOW + MONTH_S
    assert "current_period_end" not in subscription
    assert session["subscription"] == bought.subscription_id
    assert session["custom_fields"][0]["text"]["value"] == "53908232506183680"
    charge = by_type["charge.succeeded"]
    assert "invoice" not in charge
    link = by_type["invoice_payment.paid"]
    assert link["payment"]["payment_intent"] == charge["payment_intent"]
    assert stripe.Event.construct_from(events[0], None).type == "customer.subscription.created"


def test_a_snapshot_does_not_change_after_its_event() -> None:
    shop = stripe_shop()
    bought, events = shop.buy("pro", "a@example.com")
    assert events[0]["data"]["object"]["status"] == "incomplete"
    shop.end(bought)
    assert events[-2]["data"]["object"]["status"] == "active"


def test_a_life_at_stripe_moves_period_and_status() -> None:
    shop = stripe_shop()
    bought, _ = shop.buy("starter", "a@example.com", trial_days=7)
    assert bought.status == "trialing"
    steps: list[Callable[[Any], list[dict[str, Any]]]] = [shop.renew, shop.fail, shop.fail, shop.pay]
    seen = [[event["type"] for event in step(bought)] for step in steps]
    assert seen[1] == [
        "customer.subscription.updated",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ]
    assert seen[2] == ["invoice.payment_failed"]
    assert bought.status == "active"
    assert bought.period_end == NOW + 7 * 86_400 + 2 * MONTH_S
    refunded = shop.refund(bought, 100)[0]["data"]["object"]
    assert (refunded["refunded"], refunded["amount_refunded"]) == (False, 100)
    assert shop.refund(bought)[0]["data"]["object"]["refunded"] is True
    assert "customer" not in shop.dispute(bought)[0]["data"]["object"]
    assert shop.settle(bought, won=True)[0]["data"]["object"]["status"] == "won"
    created = [event["created"] for event in shop.change(bought, "pro")]
    assert created == [created[0]] * 4
    with pytest.raises(Unknown, match="not past due"):
        shop.pay(bought)


def test_a_life_at_whop_moves_period_and_status() -> None:
    shop = WhopShop({"pro": ("plan_pro", 149.0)}, lambda: NOW, random.Random(7))
    bought, events = shop.buy("pro", "a@example.com")
    assert [event["type"] for event in events] == ["membership.activated", "payment.succeeded"]
    assert events[1]["data"]["membership"]["id"] == bought.membership_id
    assert shop.fail(bought)[0]["data"]["status"] == "open"
    assert [event["type"] for event in shop.pay(bought)] == ["payment.succeeded", "membership.activated"]
    assert shop.refund(bought)[0]["data"]["payment"]["refunded_amount"] == 149.0
    assert shop.cancel(bought)[0]["data"]["cancel_at_period_end"] is True
    assert shop.end(bought)[0]["type"] == "membership.deactivated"


async def test_stripes_own_library_verifies_the_signature(app: tuple[App, VendorStandIns]) -> None:
    taking, vendors = app
    answer = await vendors.order("stripe", "buy", plan="pro", email="a@example.com")
    assert all(delivery["is_taken"] for delivery in answer["deliveries"])
    assert taking.types()[0] == "customer.subscription.created"
    path, headers, body = taking.taken[0]
    assert path == "/api/webhooks/stripe"
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], STRIPE_SECRET)
    assert event.type == "customer.subscription.created"


async def test_forged_and_old_signatures_are_refused_by_the_library(
    app: tuple[App, VendorStandIns],
) -> None:
    taking, vendors = app
    for manner in ({"forged": True}, {"old": True}):
        taking.taken.clear()
        await vendors.order("stripe", "buy", manner=manner)
        _, headers, body = taking.taken[0]
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body, headers["Stripe-Signature"], STRIPE_SECRET)


async def test_whops_signature_is_of_the_standard_scheme(app: tuple[App, VendorStandIns]) -> None:
    taking, vendors = app
    await vendors.order("whop", "buy", email="a@example.com")
    _, headers, body = taking.taken[0]
    named = {name.lower(): value for name, value in headers.items()}
    assert Webhook(WHOP_SECRET.encode()).verify(body, named)["type"] == "membership.activated"
    with pytest.raises(WebhookVerificationError):
        Webhook(b"another").verify(body, named)


async def test_events_are_sent_again_until_they_are_taken(app: tuple[App, VendorStandIns]) -> None:
    taking, vendors = app
    taking.failing = 1
    answer = await vendors.order("stripe", "buy")
    assert [delivery["is_taken"] for delivery in answer["deliveries"]] == [True] * 6
    assert answer["deliveries"][0]["statuses"] == [503, 202]
    assert taking.types()[-1] == "customer.subscription.created"


async def test_events_come_doubled_and_in_another_order(app: tuple[App, VendorStandIns]) -> None:
    taking, vendors = app
    await vendors.order("stripe", "buy", manner={"disorder": True, "duplicates": 3, "seed": 3})
    ids = [json.loads(body)["id"] for _, _, body in taking.taken]
    assert len(ids) == 18
    assert len(set(ids)) == 6
    assert taking.types()[0] != "customer.subscription.created"


async def test_a_wrong_order_is_explained(app: tuple[App, VendorStandIns]) -> None:
    _, vendors = app
    for path, text in (
        ("/shop/stripe/renew", "buy one first"),
        ("/shop/stripe/steal", "no action"),
        ("/shop/paypal/buy", "no vendor"),
    ):
        answer = await vendors.http.post(path, json={})
        assert (answer.status_code, text in answer.json()["error"]) == (400, True)
    answer = await vendors.http.post("/shop/whop/buy", json={"plan": "none"})
    assert "sells no plan" in answer.json()["error"]
