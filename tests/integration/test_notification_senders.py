"""Each way to send against the stand-in of its vendor: what arrives, and what is learnt of each refusal."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from local.stack.ports import free_ports
from shared.adapters.notifications.senders import Senders
from shared.domain.notifications.attempts import SENT, Outcome
from shared.domain.notifications.destinations import new_secret
from shared.domain.notifications.messages import Message
from tests.support.vendors import VendorStandIns, vendor_stand_ins

BOT_TOKEN = "a-token-of-a-bot"
GUILD, USER, ROLE = "123456789012345678", "223456789012345678", "323456789012345678"
MESSAGE = Message("A <title> & more", "Some *text* with <b>marks</b> & @everyone")
ADDRESSES = {
    "discord": f"discord://{GUILD}/{'t' * 40}",
    "slack": f"slack://T1JJ3T3L2/B1BRTD4JD/{'s' * 24}",
    "telegram": f"tgram://123456789:{'A' * 35}/-1001234567890",
    "twilio": f"twilio://AC{'a' * 32}:{'b' * 32}@15551234567/15559876543",
    "pagerduty": f"pagerduty://{'c' * 32}@{'d' * 20}",
}


@pytest.fixture
async def vendors() -> AsyncIterator[VendorStandIns]:
    async with vendor_stand_ins(discord_bot_token=BOT_TOKEN) as made:
        yield made


@pytest.fixture
def senders(vendors: VendorStandIns) -> Senders:
    names = ("discord", "slack", "telegram", "twilio", "pagerduty", "webhook")
    bases = {name: vendors.address(name) for name in names}
    return Senders(bases, bot_token=BOT_TOKEN, guild_id=GUILD)


async def send(senders: Senders, vendor: str) -> Outcome:
    if vendor == "discord":
        return await senders.discord.post(ADDRESSES[vendor], MESSAGE)
    return await senders.any.send(ADDRESSES[vendor], MESSAGE)


@pytest.mark.parametrize("vendor", ADDRESSES)
async def test_a_vendor_gets_the_message_once(vendors: VendorStandIns, senders: Senders, vendor: str) -> None:
    assert await send(senders, vendor) == SENT
    (entry,) = vendors.received.find(vendor)
    assert "title" in str(entry)
    assert "text" in str(entry)


@pytest.mark.parametrize("vendor", ADDRESSES)
async def test_a_429_is_told_with_the_wait_that_it_asks_for_and_not_repeated(
    vendors: VendorStandIns, senders: Senders, vendor: str
) -> None:
    await vendors.fault(vendor, status=429, retry_after_s=7)
    outcome = await send(senders, vendor)
    assert outcome.kind == "refused"
    assert "429" in outcome.error
    # Twilio names no wait; our own pace and back-off remain.
    assert outcome.retry_after_s == (None if vendor == "twilio" else 7)
    assert vendors.received.find(vendor) == []
    assert await send(senders, vendor) == SENT


@pytest.mark.parametrize("vendor", ADDRESSES)
async def test_a_lost_answer_is_told_from_a_refusal(
    vendors: VendorStandIns, senders: Senders, vendor: str
) -> None:
    await vendors.fault(vendor, kind="lost")
    assert (await send(senders, vendor)).kind == "lost"
    assert len(vendors.received.find(vendor)) == 1
    await vendors.fault(vendor, status=500)
    outcome = await send(senders, vendor)
    assert (outcome.kind, "500" in outcome.error) == ("refused", True)


@pytest.mark.parametrize("vendor", ADDRESSES)
async def test_a_redirect_is_not_followed_and_a_huge_answer_not_read(
    vendors: VendorStandIns, senders: Senders, vendor: str
) -> None:
    await vendors.fault(vendor, kind="redirect", location=vendors.address("webhook/elsewhere"))
    outcome = await send(senders, vendor)
    assert outcome.kind == "refused"
    assert vendors.received.find() == []
    await vendors.fault(vendor, kind="huge")
    await send(senders, vendor)


async def test_a_vendor_that_is_not_there_has_nothing() -> None:
    (port,) = free_ports(1)
    nobody = Senders(
        dict.fromkeys(ADDRESSES, f"http://127.0.0.1:{port}"), bot_token=BOT_TOKEN, guild_id=GUILD
    )
    for vendor in ADDRESSES:
        outcome = await send(nobody, vendor)
        assert outcome.kind == "refused", (vendor, outcome)


async def test_discord_mentions_nobody(vendors: VendorStandIns, senders: Senders) -> None:
    await senders.discord.post(ADDRESSES["discord"], MESSAGE)
    (entry,) = vendors.received.find("discord")
    assert entry["body"]["allowed_mentions"] == {"parse": []}
    assert entry["body"]["content"] == f"**{MESSAGE.title}**\n{MESSAGE.text}"


async def test_slack_and_telegram_show_marks_as_they_are(vendors: VendorStandIns, senders: Senders) -> None:
    await senders.any.send(ADDRESSES["slack"], MESSAGE)
    await senders.any.send(ADDRESSES["telegram"], MESSAGE)
    for vendor in ("slack", "telegram"):
        (entry,) = vendors.received.find(vendor)
        assert "&lt;b&gt;marks" in str(entry)
        assert "<b>marks" not in str(entry)


async def test_a_role_is_given_and_taken(vendors: VendorStandIns, senders: Senders) -> None:
    for has in (True, True, False):
        assert await senders.discord.set_role(USER, ROLE, has=has) == SENT
    changes = [(entry["role"], entry["user"], entry["role_id"]) for entry in vendors.received.find("discord")]
    assert changes == [("give", USER, ROLE), ("give", USER, ROLE), ("take", USER, ROLE)]
    other = Senders({"discord": vendors.address("discord")}, bot_token="wrong", guild_id=GUILD)
    assert "401" in (await other.discord.set_role(USER, ROLE, has=True)).error


async def test_a_mail_goes_to_the_holder_alone(vendors: VendorStandIns, senders: Senders) -> None:
    server = f"mailto://127.0.0.1:{vendors.smtp_port}?from=licenses@example.com&to=nobody@example.com"
    outcome = await senders.any.send(server, MESSAGE, to="holder+tag@example.org")
    assert outcome == SENT
    (entry,) = vendors.received.find("smtp")
    assert "nobody" not in str(entry)
    assert "holder+tag@example.org" in str(entry)
    assert MESSAGE.title in str(entry)


async def test_a_mail_that_is_refused_is_told(vendors: VendorStandIns, senders: Senders) -> None:
    server = f"mailto://127.0.0.1:{vendors.smtp_port}?from=licenses@example.com"
    await vendors.fault("smtp", status=451)
    refused = await senders.any.send(server, MESSAGE, to="holder@example.org")
    assert (refused.kind, "451" in refused.error) == ("refused", True), refused
    unknown = await senders.any.send(server, MESSAGE, to="unknown@example.org")
    assert (unknown.kind, "550" in unknown.error) == ("refused", True), unknown


async def test_a_mail_server_that_hangs_up_after_the_mail_may_have_it(senders: Senders) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        async for line in reader:
            if line == b".\r\n":
                break
            if line.upper().startswith((b"EHLO", b"MAIL", b"RCPT")):
                writer.write(b"250 go on\r\n")
            elif line.upper().startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = f"mailto://127.0.0.1:{port}?from=licenses@example.com"
        assert (await senders.any.send(address, MESSAGE, to="holder@example.org")).kind == "lost"


async def webhook(senders: Senders, url: str, secrets: list[str], body: bytes = b'{"a":1}') -> Outcome:
    return await senders.webhooks.send(url, secrets, "msg_1", body, datetime.now(UTC))


async def test_a_webhook_has_a_signature_of_each_secret(vendors: VendorStandIns, senders: Senders) -> None:
    secrets = [new_secret(lambda size: bytes(range(size))), new_secret(lambda size: b"x" * size)]
    assert await webhook(senders, vendors.address("webhook/mine"), secrets) == SENT
    (entry,) = vendors.received.find("webhook")
    headers = {f"webhook-{name}": entry[name] for name in ("id", "timestamp", "signature")}
    assert headers["webhook-id"] == "msg_1"
    for secret in secrets:
        assert Webhook(secret).verify('{"a":1}', headers) == {"a": 1}


async def test_a_webhook_that_is_gone_is_told_and_one_on_this_machine_is_refused(
    vendors: VendorStandIns, senders: Senders
) -> None:
    secrets = [new_secret(lambda size: b"x" * size)]
    await vendors.fault("webhook", name="mine", status=410)
    assert (await webhook(senders, vendors.address("webhook/mine"), secrets)).kind == "gone"
    for url in (f"{vendors.url}/shop/stripe/buy", f"http://127.0.0.1:{vendors.smtp_port}/webhook/mine"):
        outcome = await webhook(senders, url, secrets)
        assert (outcome.kind, "refused" in outcome.error) == ("refused", True)
