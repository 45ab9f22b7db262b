"""Signatures: the vendors' published vectors pass; forged, old, foreign and broken ones do not."""

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stripe import WebhookSignature

from local.vendors.delivery import sign_stripe, sign_whop
from shared.adapters.payment_signatures import MAX_HEADER, StripeSignatures, WhopSignatures
from shared.errors import SignatureExpired, SignatureInvalid

SIGNED_AT = 1_790_000_000
NOW = datetime.fromtimestamp(SIGNED_AT, UTC)
SECRET, NEXT_SECRET = "whsec_a-secret-of-stripe", "whsec_the-next-secret"
WHOP_SECRET = "ws_0123456789abcdef"
BODY = b'{"id": "evt_1", "object": "event", "name": "\xc3\xa4"}'

# The vector that Stripe's .NET library is tested with.
STRIPE_VECTOR = {
    "id": "evt_123",
    "object": "event",
    "account": "acct_123",
    "api_version": "2017-05-25",
    "created": 1533204620,
    "data": {
        "object": {
            "id": "cus_123",
            "object": "customer",
            "created": 123456789,
            "email": "test@stripe.com",
            "livemode": False,
            "metadata": {},
        }
    },
    "livemode": False,
    "pending_webhooks": 1,
    "request": {"id": "req_123", "idempotency_key": "idempotency-key-123"},
    "type": "customer.created",
}
STRIPE_HEADER = (
    "t=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,"
    "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
)
# Of the Standard Webhooks libraries, and of the documentation of Svix: secret, id, time, body, signature.
STANDARD_VECTORS = [
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1649367553,
        b'{"email":"test@example.com","username":"test_user"}',
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
    (
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "msg_loFOjxBNrRLzqYUf",
        1731705121,
        b'{"event_type":"ping","data":{"success":true}}',
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
]


async def stripe(header: str, body: bytes = BODY, now: datetime = NOW, *secrets: str) -> None:
    headers = {"stripe-signature": header} if header else {}
    await StripeSignatures(secrets or (SECRET,)).check(body, headers, now)


async def whop(
    headers: Mapping[str, str], body: bytes = BODY, now: datetime = NOW, secret: str = WHOP_SECRET
) -> None:
    await WhopSignatures((secret,)).check(body, headers, now)


async def test_stripes_published_vector_is_accepted() -> None:
    body = json.dumps(STRIPE_VECTOR, indent=2).encode() + b"\n"
    signed_at = datetime.fromtimestamp(1533204620, UTC)
    await stripe(STRIPE_HEADER, body, signed_at, "webhook_secret")
    with pytest.raises(SignatureInvalid):
        await stripe(STRIPE_HEADER, body + b" ", signed_at, "webhook_secret")
    with pytest.raises(SignatureExpired):
        await stripe(STRIPE_HEADER, body, signed_at + timedelta(seconds=301), "webhook_secret")


@pytest.mark.parametrize(("secret", "message_id", "signed_at", "body", "signature"), STANDARD_VECTORS)
async def test_the_published_vectors_of_standard_webhooks_are_accepted(
    secret: str, message_id: str, signed_at: int, body: bytes, signature: str
) -> None:
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(signed_at),
        "webhook-signature": signature,
    }
    now = datetime.fromtimestamp(signed_at, UTC)
    await whop(headers, body, now, secret)
    await whop(headers | {"webhook-signature": f"v1,c2lnbmVk v1a,b3RoZXI= {signature}"}, body, now, secret)
    with pytest.raises(SignatureInvalid):
        await whop(headers | {"webhook-id": "msg_other"}, body, now, secret)


async def test_a_library_of_the_vendor_signs_what_is_accepted() -> None:
    await stripe(WebhookSignature.generate_signature_header(BODY.decode(), SECRET, SIGNED_AT))
    # Whop's secret is no base64: its characters are the key.
    await whop(sign_whop(BODY, WHOP_SECRET, "msg_1", SIGNED_AT))


async def test_while_a_secret_is_rotated_both_count_on_either_side() -> None:
    old, new = (sign_stripe(BODY, secret, SIGNED_AT) for secret in (SECRET, NEXT_SECRET))
    both = f"{old},{new.partition(',')[2]}"
    for header, secrets in (
        (old, (SECRET, NEXT_SECRET)),
        (new, (SECRET, NEXT_SECRET)),
        (both, (SECRET,)),
        (both, (NEXT_SECRET,)),
    ):
        await stripe(header, BODY, NOW, *secrets)
    check = WhopSignatures((WHOP_SECRET, "ws_next-secret-of-whop")).check
    await check(BODY, sign_whop(BODY, "ws_next-secret-of-whop", "msg_1", SIGNED_AT), NOW)


GOOD = sign_stripe(BODY, SECRET, SIGNED_AT)
FORGED = [
    "",
    "t=1790000000",
    GOOD.replace("v1=", "v0="),
    GOOD.replace("t=179", "t=178"),
    GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1"),
    GOOD.partition(",")[2],
    f"t=soon,{GOOD.partition(',')[2]}",
    f"t=,{GOOD.partition(',')[2]}",
    ",,",
    "t,v1",
    "v1=v1=v1",
    "t=1790000000,v1=\u00e4",
    f"{GOOD},v1={'0' * MAX_HEADER}",
    sign_stripe(BODY, NEXT_SECRET, SIGNED_AT),
    sign_stripe(BODY + b" ", SECRET, SIGNED_AT),
]


@pytest.mark.parametrize("header", FORGED)
async def test_a_forged_header_of_stripe_is_refused(header: str) -> None:
    with pytest.raises(SignatureInvalid):
        await stripe(header)


WHOP_GOOD = sign_whop(BODY, WHOP_SECRET, "msg_1", SIGNED_AT)
WHOP_FORGED: list[dict[str, Any]] = [
    {},
    WHOP_GOOD | {"webhook-id": ""},
    WHOP_GOOD | {"webhook-id": "msg_2"},
    WHOP_GOOD | {"webhook-timestamp": "1790000001"},
    WHOP_GOOD | {"webhook-timestamp": "1790000000.5"},
    WHOP_GOOD | {"webhook-timestamp": "-1790000000"},
    WHOP_GOOD | {"webhook-timestamp": "9" * 30},
    WHOP_GOOD | {"webhook-timestamp": "nan"},
    WHOP_GOOD | {"webhook-signature": ""},
    WHOP_GOOD | {"webhook-signature": "v1"},
    WHOP_GOOD | {"webhook-signature": "v1,\u00e4"},
    WHOP_GOOD | {"webhook-signature": WHOP_GOOD["webhook-signature"].replace("v1,", "v2,")},
    WHOP_GOOD | {"webhook-signature": "v1," * MAX_HEADER},
    sign_whop(BODY, "ws_another-secret", "msg_1", SIGNED_AT),
    sign_whop(BODY + b" ", WHOP_SECRET, "msg_1", SIGNED_AT),
]


@pytest.mark.parametrize("headers", WHOP_FORGED)
async def test_forged_headers_of_whop_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid):
        await whop(headers)


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
async def test_a_good_signature_is_refused_if_it_is_old_or_from_the_future(seconds: int) -> None:
    now = NOW + timedelta(seconds=seconds)
    with pytest.raises(SignatureExpired):
        await stripe(GOOD, BODY, now)
    with pytest.raises(SignatureExpired):
        await whop(WHOP_GOOD, BODY, now)


@pytest.mark.parametrize("seconds", [-300, 300])
async def test_five_minutes_are_allowed_in_both_directions(seconds: int) -> None:
    await stripe(GOOD, BODY, NOW + timedelta(seconds=seconds))
    await whop(WHOP_GOOD, BODY, NOW + timedelta(seconds=seconds))


async def test_an_old_forged_signature_is_invalid_and_says_nothing_about_its_time() -> None:
    with pytest.raises(SignatureInvalid):
        await stripe(FORGED[4], BODY, NOW + timedelta(days=1))
    with pytest.raises(SignatureInvalid):
        await whop(WHOP_FORGED[3], BODY, NOW + timedelta(days=1))


async def test_a_body_that_is_no_text_is_refused() -> None:
    body = b"\xff\xfe"
    with pytest.raises(SignatureInvalid):
        await stripe(sign_stripe(body, SECRET, SIGNED_AT), body)
    with pytest.raises(SignatureInvalid):
        await whop(sign_whop(body, WHOP_SECRET, "msg_1", SIGNED_AT), body)


async def test_without_a_secret_every_event_is_refused() -> None:
    for check, headers in (
        (StripeSignatures(()).check, {"stripe-signature": GOOD}),
        (WhopSignatures(()).check, WHOP_GOOD),
    ):
        with pytest.raises(SignatureInvalid, match="secret is not set"):
            await check(BODY, headers, NOW)


async def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparisons are those of `hmac.compare_digest`, whose time depends on the length alone."""
    seen: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def record(one: str, other: str) -> bool:
        seen.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", record)
    await whop(WHOP_GOOD)
    await stripe(GOOD)
    with pytest.raises(SignatureInvalid):
        await stripe(FORGED[4])
    signature = GOOD.partition("v1=")[2]
    expected = [WHOP_GOOD["webhook-signature"], signature, signature]
    assert [one for one, _ in seen] == expected
    assert {len(other) for _, other in seen} == {len(each) for each in expected}
