"""The stand-ins of chats, SMS, alarms, mail and webhooks behave as the vendors do."""

import asyncio
import base64
import smtplib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.support.vendors import VendorStandIns, vendor_stand_ins

HOOK = "/discord/api/webhooks/417429632418316298/" + "t" * 68
MEMBER = "/discord/api/v10/guilds/81384788765712384/members/53908232506183680"
BOT = "/telegram/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
SMS = "/twilio/2010-04-01/Accounts/ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Messages.json"
LOGIN = "Basic " + base64.b64encode(b"ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:secret").decode()
ALARM = {"summary": "outbox is old", "source": "signal-cloud", "severity": "critical"}
TEXT = {"To": "+15558675310", "From": "+15017122661", "Body": "expires in 1 day"}


@pytest.fixture
async def vendors() -> AsyncIterator[VendorStandIns]:
    async with vendor_stand_ins(discord_bot_token="bot-token") as running:
        yield running


async def post(vendors: VendorStandIns, path: str, **request: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=vendors.url) as client:
        return await client.post(path, **request)


@pytest.mark.parametrize(
    ("path", "request_", "status", "vendor"),
    [
        (HOOK, {"json": {"content": "hello"}}, 204, "discord"),
        (BOT + "/sendMessage", {"json": {"chat_id": "-100123", "text": "hello"}}, 200, "telegram"),
        ("/slack/services/T1/B1/secret", {"json": {"text": "hello"}}, 200, "slack"),
        (SMS, {"data": TEXT, "headers": {"Authorization": LOGIN}}, 201, "twilio"),
        (
            "/pagerduty/v2/enqueue",
            {"json": {"routing_key": "k" * 32, "event_action": "trigger", "payload": ALARM}},
            202,
            "pagerduty",
        ),
    ],
)
async def test_a_vendor_takes_and_keeps_a_good_message(
    vendors: VendorStandIns, path: str, request_: dict[str, Any], status: int, vendor: str
) -> None:
    answer = await post(vendors, path, **request_)
    assert answer.status_code == status, answer.text
    (kept,) = vendors.received.find(vendor)
    assert "hello" in str(kept["body"]) or "expires" in str(kept["body"]) or "outbox" in str(kept["body"])


@pytest.mark.parametrize(
    ("path", "request_", "status", "text"),
    [
        (HOOK, {"json": {"content": ""}}, 400, "50006"),
        (HOOK, {"json": {"content": "x" * 2001}}, 400, "BASE_TYPE_MAX_LENGTH"),
        ("/discord/api/webhooks/none/" + "t" * 68, {"json": {"content": "x"}}, 404, "10015"),
        ("/discord/api/webhooks/417429632418316298/short", {"json": {"content": "x"}}, 401, "50027"),
        ("/telegram/botwrong/sendMessage", {"json": {"chat_id": 1, "text": "x"}}, 401, "Unauthorized"),
        (BOT + "/sendMessage", {"json": {"chat_id": 1, "text": " "}}, 400, "text is empty"),
        (BOT + "/sendMessage", {"json": {"chat_id": 1, "text": "x" * 4097}}, 400, "too long"),
        ("/slack/services/T1/B1/secret", {"json": {}}, 400, "invalid_payload"),
        ("/slack/services/T1/B1/secret", {"json": {"icon": "x"}}, 400, "no_text"),
        (SMS, {"data": TEXT}, 401, "20003"),
        (SMS, {"data": TEXT | {"To": "1234"}, "headers": {"Authorization": LOGIN}}, 400, "21211"),
        ("/pagerduty/v2/enqueue", {"json": {"event_action": "trigger"}}, 400, "routing_key"),
        (
            "/pagerduty/v2/enqueue",
            {"json": {"routing_key": "k" * 32, "event_action": "resolve"}},
            400,
            "dedup_key",
        ),
    ],
)
async def test_a_vendor_refuses_what_it_would_refuse(
    vendors: VendorStandIns, path: str, request_: dict[str, Any], status: int, text: str
) -> None:
    answer = await post(vendors, path, **request_)
    assert (answer.status_code, text in answer.text) == (status, True), answer.text
    assert vendors.received.find() == []


async def test_discord_limits_a_webhook_and_says_how_long_to_wait(vendors: VendorStandIns) -> None:
    answers = [await post(vendors, HOOK, json={"content": str(n)}) for n in range(6)]
    assert [answer.status_code for answer in answers] == [204] * 5 + [429]
    assert 0 < answers[-1].json()["retry_after"] <= 2
    assert answers[0].headers["X-RateLimit-Remaining"] == "4"
    assert len(vendors.received.find("discord")) == 5


async def test_discord_gives_and_takes_a_role_with_the_bots_token_alone(vendors: VendorStandIns) -> None:
    async with httpx.AsyncClient(base_url=vendors.url) as client:
        assert (await client.put(MEMBER + "/roles/41771983423143936")).status_code == 401
        client.headers["Authorization"] = "Bot bot-token"
        assert (await client.put(MEMBER + "/roles/41771983423143936")).status_code == 204
        assert (await client.get(MEMBER)).json()["roles"] == ["41771983423143936"]
        assert (await client.delete(MEMBER + "/roles/41771983423143936")).status_code == 204
        assert (await client.get(MEMBER)).json()["roles"] == []
    assert [entry["role"] for entry in vendors.received.find("discord")] == ["give", "take"]


async def test_a_deleted_discord_webhook_is_unknown(vendors: VendorStandIns) -> None:
    async with httpx.AsyncClient(base_url=vendors.url) as client:
        assert (await client.delete(HOOK)).status_code == 204
    assert (await post(vendors, HOOK, json={"content": "x"})).status_code == 404


def mail(to: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "keys@example.com", to, "Your key"
    message.set_content("Open the link.")
    message.add_alternative("<p>Open the link.</p>", subtype="html")
    return message


async def test_the_mail_server_takes_a_mail_and_refuses_recipients(vendors: VendorStandIns) -> None:
    def send(to: str) -> None:
        with smtplib.SMTP("127.0.0.1", vendors.smtp_port) as client:
            client.login("anybody", "anything")
            client.send_message(mail(to))

    await asyncio.to_thread(send, "buyer@example.com")
    for refused in ("full@example.com", "unknown@example.com"):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            await asyncio.to_thread(send, refused)
    await vendors.fault("smtp", status=451)
    with pytest.raises(smtplib.SMTPDataError):
        await asyncio.to_thread(send, "buyer@example.com")
    (kept,) = vendors.received.find("smtp")
    assert (kept["to"], kept["subject"]) == (["buyer@example.com"], "Your key")
    assert kept["text"].strip() == "Open the link."
    assert "<p>" in kept["html"]


async def test_a_webhook_receiver_verifies_signatures_and_marks_repeats(vendors: VendorStandIns) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    await vendors.http.put("/webhooks/shop", json={"secret": secret})
    now = datetime.now(UTC)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
    signed = headers | {"webhook-signature": Webhook(secret).sign("msg_1", now, '{"a":1}')}
    statuses = [
        (await post(vendors, "/webhook/shop", content=body, headers=signed)).status_code
        for body in ('{"a":1}', '{"a":1}', '{"a":2}')
    ]
    assert statuses == [204, 204, 401]
    assert [entry["is_repeated"] for entry in vendors.received.find("webhook")] == [False, True]
    assert len(vendors.received.find("webhook_refused")) == 1


async def test_planned_faults_come_in_order_and_end(vendors: VendorStandIns) -> None:
    await vendors.fault("slack", status=429, retry_after_s=3)
    await vendors.fault("webhook", name="a", kind="redirect", location="http://169.254.169.254/")
    await vendors.fault("webhook", name="a", kind="lost")
    await vendors.fault("webhook", name="a", kind="huge", size=200_000)
    limited = await post(vendors, "/slack/services/T1/B1/x", json={"text": "x"})
    assert (limited.status_code, limited.headers["Retry-After"], limited.text) == (429, "3", "rate_limited")
    assert (await post(vendors, "/slack/services/T1/B1/x", json={"text": "x"})).status_code == 200
    assert (await post(vendors, "/webhook/b", json={})).status_code == 204
    assert (await post(vendors, "/webhook/a", json={})).headers["Location"] == "http://169.254.169.254/"
    with pytest.raises(httpx.RemoteProtocolError):
        await post(vendors, "/webhook/a", json={"lost": True})
    assert vendors.received.find("webhook")[-1]["body"] == {"lost": True}
    assert len((await post(vendors, "/webhook/a", json={})).content) >= 200_000


async def test_the_stand_ins_own_routes_need_the_control_token(vendors: VendorStandIns) -> None:
    async with httpx.AsyncClient(base_url=vendors.url) as client:
        assert (await client.get("/received")).status_code == 401
        assert (await client.post("/faults", json={"vendor": "slack"})).status_code == 401


async def test_a_reader_waits_for_what_comes(vendors: VendorStandIns) -> None:
    async def later() -> None:
        await asyncio.sleep(0.02)
        await post(vendors, "/slack/services/T1/B1/x", json={"text": "at last"})

    task = asyncio.create_task(later())
    found = (await vendors.http.get("/received", params={"vendor": "slack", "wait_s": 5})).json()
    await task
    assert found["received"][0]["body"] == {"text": "at last"}
    nothing = (await vendors.http.get("/received", params={"after": 1, "wait_s": 0.01})).json()
    assert nothing == {"received": []}
