"""Payment vendors' events are stored once; whatever is not proved and whole leaves nothing but a count."""

import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from functions.web import body_limits
from local.vendors.delivery import sign_stripe, sign_whop
from local.vendors.stripe_objects import Price
from local.vendors.stripe_shop import StripeShop
from local.vendors.whop_shop import WhopShop
from shared.payment_settings import PaymentSettings
from tests.support.api import SETTINGS, Answered, Api

Send = Callable[..., Awaitable[Answered]]
STRIPE_SECRET, WHOP_SECRET = "whsec_a-secret-of-stripe", "ws_a-secret-of-whop"
PAYMENTS = PaymentSettings(
    stripe_secrets=(STRIPE_SECRET,),
    whop_secrets=(WHOP_SECRET,),
    plans={"stripe:price_pro": "pro", "whop:plan_pro": "pro"},
    mode="test",
)
EVENT: dict[str, Any] = StripeShop({"pro": Price("price_pro", 9900)}).buy("pro", "a@example.com")[1][0]
WHOP_EVENT: dict[str, Any] = WhopShop({"pro": ("plan_pro", 99.0)}).buy("pro", "a@example.com")[1][0]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api(dataclasses.replace(SETTINGS, payments=PAYMENTS))
    yield made
    made.forget()


async def stripe(api: Api, body: bytes, *, secret: str = STRIPE_SECRET, age_s: int = 0) -> Answered:
    signature = sign_stripe(body, secret, int(api.clock.timestamp()) - age_s)
    return await api.call("POST", "webhooks/stripe", content=body, headers={"stripe-signature": signature})


async def whop(api: Api, body: bytes, *, secret: str = WHOP_SECRET, age_s: int = 0) -> Answered:
    headers = sign_whop(body, secret, WHOP_EVENT["id"], int(api.clock.timestamp()) - age_s)
    return await api.call("POST", "webhooks/whop", content=body, headers=headers)


def packed(event: object) -> bytes:
    return json.dumps(event).encode()


async def test_a_signed_event_is_stored_once_and_every_delivery_has_the_same_answer(api: Api) -> None:
    for send, event in ((stripe, EVENT), (whop, WHOP_EVENT)):
        answers = [await send(api, packed(event)) for _ in range(3)]
        assert [(each.status, each.body) for each in answers] == [(204, b"")] * 3
    rows = api.stores.payments.rows
    assert [(row.provider, row.event_id, row.state) for row in rows.values()] == [
        ("stripe", EVENT["id"], "received"),
        ("whop", WHOP_EVENT["id"], "received"),
    ]
    assert api.counts == {"payment_events_received": 2, "payment_events_repeated": 4}


REFUSED: dict[str, tuple[int, str]] = {
    "forged": (401, "signature_invalid"),
    "unsigned": (401, "signature_invalid"),
    "old": (401, "signature_expired"),
    "of the future": (401, "signature_expired"),
    "huge": (413, "body_too_large"),
    "no JSON": (400, "malformed_json"),
    "deep": (400, "malformed_json"),
    "no event": (422, "validation_failed"),
    "empty": (400, "malformed_json"),
}


async def refuse(api: Api, send: Send, event: dict[str, Any], how: str) -> Answered:
    body = packed(event)
    match how:
        case "unsigned":
            path = "webhooks/stripe" if send is stripe else "webhooks/whop"
            return await api.call("POST", path, content=body)
        case "forged":
            return await send(api, body, secret="whsec_the-secret-of-another")
        case "old" | "of the future":
            return await send(api, body, age_s=301 if how == "old" else -301)
    bodies = {
        "huge": packed(event | {"padding": "x" * body_limits.WEBHOOK}),
        "no JSON": body[:-1],
        "deep": b'{"nested": ' + b"[" * 100_000,
        "no event": packed({"id": 7, "hello": "world"}),
        "empty": b"",
    }
    return await send(api, bodies[how])


@pytest.mark.parametrize("how", REFUSED)
@pytest.mark.parametrize(("send", "event"), [(stripe, EVENT), (whop, WHOP_EVENT)], ids=["stripe", "whop"])
async def test_a_refused_event_leaves_nothing_but_a_count(
    api: Api, send: Send, event: dict[str, Any], how: str
) -> None:
    answered = await refuse(api, send, event, how)
    status, code = REFUSED[how]
    assert (answered.status, answered.code) == (status, code)
    assert api.stores.payments.rows == {}
    by_code = {f"refused.{code}": 1} if status == 401 else {}
    assert api.counts == {"payment_events_refused": 1} | by_code


async def test_a_replayed_event_changes_nothing_within_the_window_and_is_refused_after_it(api: Api) -> None:
    body = packed(EVENT)
    headers = {"stripe-signature": sign_stripe(body, STRIPE_SECRET, int(api.clock.timestamp()))}
    for seconds, status in ((0, 204), (299, 204), (2, 401)):
        api.clock.forward(seconds)
        answered = await api.call("POST", "webhooks/stripe", content=body, headers=headers)
        assert answered.status == status
    assert len(api.stores.payments.rows) == 1


async def test_one_vendors_signature_opens_no_other_door(api: Api) -> None:
    body = packed(EVENT)
    headers = sign_whop(body, STRIPE_SECRET, EVENT["id"], int(api.clock.timestamp()))
    assert (
        await api.call("POST", "webhooks/whop", content=body, headers=headers)
    ).code == "signature_invalid"
    # The signature is over the bytes as they came, not over what they may be unpacked to.
    stripe_headers = {
        "stripe-signature": sign_stripe(body, STRIPE_SECRET, int(api.clock.timestamp())),
        "content-encoding": "gzip",
    }
    assert (await api.call("POST", "webhooks/stripe", content=body, headers=stripe_headers)).status == 204


async def test_events_of_the_other_mode_are_kept_as_ignored(api: Api) -> None:
    assert (await stripe(api, packed(EVENT | {"livemode": True}))).status == 204
    (row,) = api.stores.payments.rows.values()
    assert (row.state, row.kind) == ("ignored", "ignored")
    assert "live mode" in row.outcome


async def test_while_the_database_is_away_the_vendor_is_told_to_try_again(api: Api) -> None:
    api.stores.server.away = True
    answered = await stripe(api, packed(EVENT))
    assert (answered.status, answered.code) == (503, "database_unavailable")
    assert "payment_events_refused" not in api.counts


async def test_without_secrets_every_event_is_refused() -> None:
    bare = Api()
    try:
        assert (await stripe(bare, packed(EVENT))).code == "signature_invalid"
        assert (await whop(bare, packed(WHOP_EVENT))).code == "signature_invalid"
    finally:
        bare.forget()


async def test_operators_see_what_became_of_each_event_and_run_one_again(api: Api) -> None:
    api.services.payments._products = {}  # as if PAYMENT_PLANS were empty
    for event in StripeShop({"pro": Price("price_pro", 9900)}).buy("pro", "a@example.com")[1]:
        await stripe(api, packed(event))
    await stripe(api, packed(EVENT | {"livemode": True}))
    await api.services.payments.run()
    ops, admin = await api.key("ops"), await api.key("admin")
    listed = (await api.call("GET", "ops/payment-events", key=ops, limit=2)).json
    assert [each["payment_event_id"] for each in listed["payment_events"]] == [7, 6]
    older = await api.call("GET", "ops/payment-events", key=ops, before=listed["next_before"], limit=500)
    assert [each["payment_event_id"] for each in older.json["payment_events"]] == [5, 4, 3, 2, 1]
    assert older.json["next_before"] is None
    failed = (await api.call("GET", "ops/payment-events", key=ops, state="failed")).json["payment_events"]
    assert "PAYMENT_PLANS" in failed[0]["outcome"]
    subject = failed[0]["subject"]
    of_one = await api.call("GET", "ops/payment-events", key=ops, subject=subject, state="failed")
    assert of_one.json["payment_events"] == [each for each in failed if each["subject"] == subject]
    api.services.payments._products = dict(PAYMENTS.plans)
    path = f"ops/payment-events/{failed[0]['payment_event_id']}/run"
    assert (await api.call("POST", path, key=ops)).code == "scope_missing"
    assert (await api.call("POST", path, key=admin)).json["state"] == "received"
    await api.services.payments.run()
    assert (await api.call("GET", "ops/payment-events", key=ops, state="failed")).json["payment_events"] == []
    assert [each.plan for each in api.key_store.licenses.values() if each.payment] == ["pro"]
    assert (await api.call("POST", "ops/payment-events/7/run", key=admin)).code == "conflict"
    assert (await api.call("POST", "ops/payment-events/99/run", key=admin)).code == "not_found"
