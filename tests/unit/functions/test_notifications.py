"""Customers' destinations and notifications over HTTP, and what the timers make of events."""

from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.notifications.secret_box import SecretBox
from shared.domain.access.plans import Overrides
from shared.domain.notifications.attempts import SENT, Outcome
from shared.domain.notifications.destinations import MAX_DESTINATIONS
from shared.domain.notifications.events import Event
from shared.domain.notifications.summaries import AccountDay
from shared.services.key_making import CreatedKey
from tests.support.api import Answered, Api
from tests.support.requests import DESTINATION, SIGNAL

WEBHOOK = DESTINATION | {"events": ["signal_published", "daily_summary"]}
URLS = {
    "discord": f"https://discord.com/api/webhooks/123456789012345678/{'t' * 68}",
    "slack": f"https://hooks.slack.com/services/T01234567/B01234567/{'s' * 24}",
}
TELEGRAM = {"kind": "telegram", "bot_token": f"123456789:{'A' * 35}", "chat_id": "-1001234567890"}


class Senders:
    """Every way to send, which notes what it gets."""

    def __init__(self) -> None:
        self.any = self.discord = self.webhooks = self
        self.sent: list[tuple[Any, ...]] = []

    async def send(self, *given: Any, **named: Any) -> Outcome:
        self.sent.append(given)
        return SENT

    post = send


@pytest.fixture
def senders(api: Api) -> Senders:
    made = Senders()
    vars(api.services)["senders"] = made
    return made


async def add(api: Api, key: CreatedKey, body: object = WEBHOOK) -> Answered:
    return await api.call("POST", "destinations", key=key, body=body)


async def fire(api: Api) -> None:
    await api.services.fan_out.run()
    await api.services.sending.run()


@pytest.mark.parametrize("kind", ["webhook", "discord", "slack", "telegram"])
async def test_a_destination_shows_its_secret_once_and_its_address_in_part(api: Api, kind: str) -> None:
    key = await api.key()
    body = {"kind": kind, "events": ["license_expired"], "url": URLS.get(kind, "https://example.com/secret")}
    added = await add(api, key, TELEGRAM | {"events": ["license_expired"]} if kind == "telegram" else body)
    assert added.status == 201
    assert (added.json["secret"] or "").startswith("whsec_") == (kind == "webhook")
    listed = await api.call("GET", "destinations", key=key)
    (shown,) = listed.json["destinations"]
    assert shown == added.json["destination"]
    for secret in ("secret", "ttt", "sss", "AAA"):
        assert secret not in shown["address"]
    (stored,) = api.stores.destinations.stored.values()
    assert b"whsec" not in stored.sealed
    other = await api.key(account="acct-2")
    assert (await api.call("GET", "destinations", key=other)).json == {"destinations": []}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"url": "http://example.com/hook"}, "url"),
        ({"url": "https://169.254.169.254/metadata"}, "url"),
        ({"url": None}, "url"),
        ({"kind": "discord"}, "url"),
        ({"kind": "slack", "url": URLS["discord"]}, "url"),
        ({"bot_token": "1"}, "bot_token"),
        ({"events": ["feed_stale"]}, "events"),
        (TELEGRAM | {"url": None, "chat_id": "x"}, "chat_id"),
        (TELEGRAM | {"url": None, "bot_token": "x"}, "bot_token"),
    ],
)
async def test_a_destination_that_cannot_be_called_is_refused(
    api: Api, changed: dict[str, Any], field: str
) -> None:
    refused = await add(api, await api.key(), DESTINATION | changed)
    assert (refused.status, refused.fields) == (422, [field])
    assert api.stores.destinations.stored == {}


async def test_an_account_has_a_bounded_number_of_destinations(api: Api) -> None:
    key = await api.key()
    for _ in range(MAX_DESTINATIONS):
        assert (await add(api, key)).status == 201
    assert (await add(api, key)).code == "conflict"


async def test_a_test_is_queued_for_its_destination_alone_and_its_result_is_seen(
    api: Api, senders: Senders
) -> None:
    key = await api.key()
    first = (await add(api, key)).json["destination"]["destination_id"]
    await add(api, key)
    queued = await api.call("POST", f"destinations/{first}/test", key=key)
    await fire(api)
    assert len(senders.sent) == 1
    (seen,) = (await api.call("GET", "notifications", key=key)).json["notifications"]
    assert (seen["destination_id"], seen["state"], seen["message"]["type"]) == (first, "sent", "test")
    assert seen["message"]["data"]["event_id"] == queued.json["event_id"]
    assert seen["id"] == senders.sent[0][2]
    other = await api.key(account="acct-2")
    for action in ("test", "secret"):
        answered = await api.call("POST", f"destinations/{first}/{action}", key=other)
        assert answered.code == "not_found"


async def test_tests_in_the_same_minute_are_one(api: Api, senders: Senders) -> None:
    key = await api.key()
    name = (await add(api, key)).json["destination"]["destination_id"]
    for forward, sent in ((0, 1), (1, 1), (60, 2)):
        api.clock.forward(forward)
        assert (await api.call("POST", f"destinations/{name}/test", key=key)).status == 202
        await fire(api)
        assert len(senders.sent) == sent


async def test_after_a_rotation_messages_have_both_signatures_for_a_day(api: Api, senders: Senders) -> None:
    key = await api.key()
    added = (await add(api, key)).json
    name = added["destination"]["destination_id"]
    rotated = (await api.call("POST", f"destinations/{name}/secret", key=key)).json
    for forward, secrets in ((0, [rotated["secret"], added["secret"]]), (86_400, [rotated["secret"]])):
        api.clock.forward(forward)
        await api.call("POST", f"destinations/{name}/test", key=key)
        await fire(api)
        assert [*senders.sent.pop()[1]] == secrets


async def test_what_was_sent_is_sent_again_under_the_same_id(api: Api, senders: Senders) -> None:
    key = await api.key()
    name = (await add(api, key)).json["destination"]["destination_id"]
    await api.call("POST", f"destinations/{name}/test", key=key)
    await fire(api)
    since = (api.clock() - timedelta(hours=1)).isoformat()
    api.clock.forward(60)
    replayed = await api.call("POST", f"destinations/{name}/replay", key=key, body={"since": since})
    assert replayed.json == {"notifications": 1}
    await fire(api)
    first, again = senders.sent
    assert first[2] == again[2]


async def test_a_signal_reaches_destinations_of_its_symbol_with_the_delay_of_their_plans(
    api: Api, senders: Senders
) -> None:
    licenses = api.services.license_service("tester")
    names, keys = {}, {}
    for account, values in (
        ("now", Overrides(symbols=("ES",))),
        ("later", Overrides(symbols=("ES",), signal_delay_s=900)),
        ("other", Overrides(symbols=("NQ",))),
    ):
        license_ = await licenses.create_license(account, overrides=values, may_be_unserved=True)
        keys[account] = key = await licenses.create_key(license_.license_id, ("bot",))
        names[(await add(api, key)).json["destination"]["destination_id"]] = account
    event = Event(
        event_id="s-1", kind="signal_published", at=api.clock(), values={"symbol": SIGNAL["symbol"]}
    )
    await api.services.notifications.tell([event, event])
    await fire(api)

    async def seen(account: str) -> int:
        listed = await api.call("GET", "notifications", key=keys[account])
        return len(listed.json["notifications"])

    assert len(senders.sent) == 1
    assert [await seen(account) for account in ("now", "later")] == [1, 0], "a delay has no way around"
    api.clock.forward(900)
    await fire(api)
    assert len(senders.sent) == 2
    assert [await seen(account) for account in ("now", "later")] == [1, 1]
    lanes = {names[row.lane.partition(":")[2]] for row in api.stores.notification_queue.rows.values()}
    assert lanes == {"now", "later"}


async def test_without_the_licenses_a_signal_waits_and_holds_up_nothing_else(
    api: Api, senders: Senders
) -> None:
    key = await api.key()
    await add(api, key)
    at = api.clock()
    signal = Event(event_id="s-1", kind="signal_published", at=at, values={"symbol": "ES"})
    summary = Event(event_id="d-1", kind="daily_summary", at=at, account_id="acct-1")
    await api.services.notifications.tell([signal, summary])
    api.key_store.away = True
    await fire(api)
    assert len(senders.sent) == 1
    api.key_store.away = False
    await fire(api)
    assert len(senders.sent) == 2


async def test_an_event_that_cannot_be_stored_is_logged_and_stops_nothing(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.stores.server.away = True
    await api.services.notifications.tell([Event(event_id="e", kind="test", at=api.clock())])
    assert "nobody is notified of test" in caplog.text


async def test_a_new_pepper_seals_again_what_the_former_sealed(api: Api) -> None:
    await add(api, await api.key())
    (before,) = api.stores.destinations.stored.values()
    del vars(api.services)["destinations"]  # as in a process that starts with the new pepper
    vars(api.services)["secret_box"] = SecretBox(b"q" * 32, b"p" * 32)
    assert await api.services.destinations.reseal() == 1
    assert await api.services.destinations.reseal() == 0
    (after,) = api.stores.destinations.stored.values()
    assert after.sealed_by != before.sealed_by
    opened = SecretBox(b"q" * 32, None).opened(after)
    assert opened is not None
    assert opened.address == DESTINATION["url"]


async def test_the_day_before_is_summed_up_for_each_account_and_for_operators(api: Api) -> None:
    def closed(account: str, trades: int) -> AccountDay:
        return AccountDay(account_id=account, trades=trades, wins=1, net_pnl=trades * 10)  # type: ignore[arg-type]

    api.stores.summaries.days = [closed("a", 2), closed("b", 0), closed("sc-test-1", 5)]
    for _ in range(2):
        assert await api.services.daily_summary.run(api.clock()) == 1
    own, total = api.stores.notifications.events.values()
    assert (own.account_id, own.values["win_rate"], own.values["day"]) == ("a", "50.0%", "2026-03-01")
    assert (total.account_id, total.values["trades"], total.values["accounts"]) == (None, 2, 1)
