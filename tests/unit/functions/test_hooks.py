"""Alerts that come to a hook: what they publish, and what they are told; and the hooks of a publisher."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import azure.functions as func
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import telemetry
from shared.domain.market.signals import Signal, SignalDraft
from shared.services import hooks as hooks_service
from tests.support.api import Answered, Api, function_of
from tests.support.places import ROOT

BUY = {"action": "buy", "ticker": "ES1!", "price": "6543.25", "stop": 6540, "target": "6550"}
TRADINGVIEW = {"x-forwarded-for": "10.0.0.1, 52.89.214.238:443"}

Hooked = Callable[..., Awaitable["Door"]]


class Door:
    """The address of a hook."""

    def __init__(self, api: Api, hook_id: str, secret: str) -> None:
        self.api, self.hook_id, self.secret = api, hook_id, secret

    async def send(self, alert: Any = None, **options: Any) -> Answered:
        return await self.api.call("POST", f"hooks/{self.secret}", body=alert, **options)


@pytest.fixture
def hook(api: Api) -> Hooked:
    async def made(**request: Any) -> Door:
        key = await api.key("publisher", symbols=("ES", "NQ"))
        answered = await api.call("POST", "hooks", key=key, body={"name": "chart"} | request)
        assert answered.status == 201
        return Door(api, answered.json["hook"]["hook_id"], answered.json["url"].rpartition("/")[2])

    return made


def published(api: Api, symbol: str = "ES") -> list[tuple[str, str, str]]:
    signals = api.stores.signals.published[symbol]
    return [(signal.kind, signal.side, str(signal.price)) for signal in signals]


async def test_an_alert_is_a_signal_of_the_hook_s_strategy(api: Api, hook: Hooked) -> None:
    door = await hook(strategy="my_chart")
    answered = await door.send(BUY | {"volume": 3})
    assert answered.status == 201
    assert answered.json["outcome"] == "published"
    assert answered.json["ignored"] == ["volume"]
    (signal,) = api.stores.signals.published["ES"]
    assert (signal.strategy, signal.side, str(signal.stop_price), str(signal.target_price)) == (
        "my_chart",
        "LONG",
        "6540.00",
        "6550.00",
    )
    assert answered.json["signals"][0]["sequence"] == 1


async def test_text_is_an_alert_too_under_any_label_of_text(api: Api, hook: Hooked) -> None:
    door = await hook()
    for content_type in ("text/plain; charset=utf-8", "", "application/json"):
        headers = {"content-type": content_type}
        answered = await door.send(content=b"sell CME_MINI:ES1! 6543.25 stop=6550", headers=headers)
        assert answered.status in (200, 201)
    assert published(api) == [("entry", "SHORT", "6543.25")]


async def test_the_same_alert_twice_is_one_signal(api: Api, hook: Hooked) -> None:
    door = await hook()
    first = await door.send(BUY)
    again = await door.send(BUY)
    assert (first.status, again.status, again.json["outcome"]) == (201, 200, "repeated")
    assert again.json["signals"] == first.json["signals"]
    api.clock.forward(61)
    assert (await door.send(BUY)).status == 201, "a minute later it is another one"


async def test_an_alert_with_an_id_is_one_signal_for_ever(api: Api, hook: Hooked) -> None:
    door = await hook()
    alert = BUY | {"id": "a-1", "at": "2026-03-02T14:30:00Z"}
    assert (await door.send(alert)).status == 201
    api.clock.forward(90)
    assert (await door.send(alert)).json["outcome"] == "repeated"
    other = await door.send(alert | {"price": "6543.50"})
    assert (other.status, other.code, other.fields) == (409, "conflict", ["price"])


async def test_flat_closes_what_is_open_and_nothing_else(api: Api, hook: Hooked) -> None:
    door = await hook()
    flat = {"action": "flat", "ticker": "ES1!", "price": 6550}
    assert (await door.send(flat)).json == {"outcome": "nothing_open", "signals": [], "ignored": []}
    await door.send(BUY)
    api.clock.forward(1)
    assert (await door.send(flat)).status == 201
    assert (await door.send(flat)).json["outcome"] == "nothing_open"
    assert published(api) == [("entry", "LONG", "6543.25"), ("exit", "LONG", "6550.00")]


async def test_a_turned_position_is_an_exit_and_an_entry(api: Api, hook: Hooked) -> None:
    door = await hook()
    turned = {"market_position": "short", "prev_market_position": "long", "action": "sell"}
    alert = {"ticker": "ES1!", "price": 6550} | turned
    assert (await door.send(alert)).status == 201
    assert (await door.send(alert)).status == 200
    assert published(api) == [("exit", "LONG", "6550.00"), ("entry", "SHORT", "6550.00")]


async def test_the_position_under_its_other_name_closes_instead_of_turning(api: Api, hook: Hooked) -> None:
    door = await hook()
    await door.send(BUY | {"sentiment": "bullish"})
    assert (await door.send(BUY | {"action": "sell", "sentiment": "flat"})).status == 201
    assert published(api) == [("entry", "LONG", "6543.25"), ("exit", "LONG", "6543.25")]


async def test_what_is_wrong_is_named_as_the_sender_named_it(api: Api, hook: Hooked) -> None:
    door = await hook()
    answered = await door.send({"side": "hold", "ticker": "ES1!", "close": "{{close}}", "sl": "5,000.25"})
    assert (answered.status, answered.code) == (422, "validation_failed")
    assert answered.fields == ["close", "side", "sl"]
    answered = await door.send({"action": "buy", "ticker": "ES1!", "close": "6543.25", "sl": "6600"})
    assert answered.fields == ["sl"], "what the signal's own checks refuse"
    assert not api.stores.signals.published["ES"]


async def test_the_checks_of_signals_hold(api: Api, hook: Hooked) -> None:
    door = await hook(symbols=["ES"])
    assert (await door.send(BUY | {"ticker": "NQ1!"})).fields == ["ticker"], "not a symbol of the hook"
    expired = await door.send(BUY | {"at": "2026-03-02T14:00:00Z"})
    assert (expired.status, expired.fields) == (422, ["at"])
    door = await hook()
    refused = await door.send(BUY | {"ticker": "CL1!", "price": 70, "stop": 69, "target": 71})
    assert (refused.status, refused.code, refused.fields) == (403, "symbol_not_licensed", ["ticker"])


@pytest.mark.parametrize("secret", ["x", "sch_", "sch_" + "a" * 44, "sc_live_" + "a" * 44, "s" * 150])
async def test_an_unknown_secret_opens_nothing_and_is_not_repeated(api: Api, secret: str) -> None:
    answered = await Door(api, "", secret).send(BUY)
    assert (answered.status, answered.code) == (404, "not_found")
    assert secret not in answered.body.decode() or len(secret) < 5


async def test_a_key_is_no_secret_of_a_hook_and_a_secret_is_no_key(api: Api, hook: Hooked) -> None:
    key = await api.key("publisher")
    assert (await Door(api, "", key.plain).send(BUY)).status == 404
    door = await hook()
    answered = await api.call("POST", "signals", key=door.secret, body={})
    assert (answered.status, answered.code) == (403, "scope_missing")


async def test_a_hook_takes_alerts_from_its_addresses_alone(api: Api, hook: Hooked) -> None:
    door = await hook(addresses=["tradingview", "2001:db8::/32"])
    assert (await door.send(BUY, headers=TRADINGVIEW)).status == 201
    for claimed in ("52.89.214.238, 10.0.0.1:443", "10.0.0.1:443", ""):
        refused = await door.send(BUY, headers={"x-forwarded-for": claimed})
        assert (refused.status, refused.code) == (403, "address_refused")
    assert (await door.send(BUY, headers={"x-forwarded-for": "[2001:db8::7]:4"})).status == 200


async def test_a_slow_database_is_answered_in_time_and_the_alert_is_published_once(
    api: Api, hook: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = await hook()
    assert hooks_service.ANSWER_WITHIN_S < 1
    monkeypatch.setattr(hooks_service, "ANSWER_WITHIN_S", 0.01)
    answers, publish = asyncio.Event(), api.stores.signals.publish

    async def slowly(draft: SignalDraft) -> tuple[Signal, bool]:
        await answers.wait()
        return await publish(draft)

    monkeypatch.setattr(api.stores.signals, "publish", slowly)
    late = await door.send(BUY)
    assert (late.status, late.code, late.headers["retry-after"]) == (503, "database_unavailable", "5")
    answers.set()
    await asyncio.sleep(0)
    monkeypatch.setattr(hooks_service, "ANSWER_WITHIN_S", 5.0)
    again = await door.send(BUY)
    assert (again.status, len(again.json["signals"])) == (200, 1)
    assert published(api) == [("entry", "LONG", "6543.25")]


async def test_a_hook_ends_at_once_and_with_its_license(api: Api, hook: Hooked) -> None:
    door = await hook()
    key = await api.key("publisher")
    await door.send(BUY)
    assert (await api.call("POST", f"hooks/{door.hook_id}/end", key=key)).status == 200
    assert (await door.send(BUY)).status == 404
    door = await hook()
    (license_id,) = {each.license_id for each in api.stores.hooks.stored.values() if each.ended_at is None}
    licenses = api.services.license_service("tester")
    await licenses.suspend_license(license_id)
    assert (await door.send(BUY)).code == "license_suspended"
    await licenses.resume_license(license_id)
    assert (await door.send(BUY)).status in (200, 201), "it works again without a wait"


async def test_both_secrets_work_during_the_overlap_of_a_rotation(api: Api, hook: Hooked) -> None:
    door = await hook()
    key = await api.key("publisher")
    answered = await api.call("POST", f"hooks/{door.hook_id}/rotate", key=key, body={"overlap_s": 60})
    renewed = Door(api, door.hook_id, answered.json["url"].rpartition("/")[2])
    assert renewed.secret != door.secret
    assert [(await each.send(BUY)).status for each in (door, renewed)] == [201, 200]
    api.clock.forward(timedelta(seconds=61).total_seconds())
    assert [(await each.send(BUY)).status for each in (door, renewed)] == [404, 201]


async def test_hooks_are_listed_without_their_secrets_and_to_their_account(api: Api, hook: Hooked) -> None:
    door = await hook(addresses=["tradingview"])
    answered = await api.call("GET", "hooks", key=await api.key("publisher"))
    assert [each["hook_id"] for each in answered.json["hooks"]] == [door.hook_id]
    assert door.secret not in answered.body.decode()
    others = await api.key("publisher", account="acct-2")
    assert (await api.call("GET", "hooks", key=others)).json == {"hooks": []}
    for action in ("rotate", "end"):
        answered = await api.call("POST", f"hooks/{door.hook_id}/{action}", key=others)
        assert (answered.status, answered.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({"mapping": "nope"}, ["mapping"]),
        ({"mapping": {"fields": {"price": ["p"]}, "words": {"b": "long"}}}, ["mapping.fields.action"]),
        ({"addresses": ["nowhere"]}, ["addresses[0]"]),
        ({"addresses": ["10.0.0.1", "0.0.0.0/0"]}, ["addresses[1]"]),
        ({"symbols": ["CL"]}, ["symbols[0]"]),
        ({"name": ""}, ["name"]),
    ],
)
async def test_a_hook_that_could_not_work_is_refused(
    api: Api, request_: dict[str, Any], fields: list[str]
) -> None:
    answered = await api.call(
        "POST", "hooks", key=await api.key("publisher"), body={"name": "chart"} | request_
    )
    assert answered.status == (403 if "symbols" in request_ else 422)
    assert set(fields) <= set(answered.fields)
    assert not api.stores.hooks.stored


async def test_a_hook_has_the_limit_of_a_key(api: Api) -> None:
    key = await api.key("publisher", limit=2)
    made = await api.call("POST", "hooks", key=key, body={"name": "chart"})
    door = Door(api, "", made.json["url"].rpartition("/")[2])
    assert [(await door.send(BUY)).status for _ in range(3)] == [201, 200, 429]


async def test_a_mapping_of_its_own_reads_what_its_sender_writes(api: Api, hook: Hooked) -> None:
    door = await hook(
        mapping={
            "fields": {"action": ["richtung"], "symbol": ["markt"], "price": ["kurs.jetzt"]},
            "words": {"rein": "long", "raus": "flat"},
            "symbols": {"S&P": "ES"},
        }
    )
    alert = {"Richtung": "REIN", "markt": "S&P", "kurs": {"jetzt": 6543.25}}
    assert (await door.send(alert)).status == 201
    assert (await door.send(alert | {"farbe": "rot"})).code == "unknown_field"


def test_a_secret_in_a_path_is_in_no_trace() -> None:
    secret = "sch_Ab12Cd"
    _, _, route_params = function_of("POST", f"hooks/{secret}")
    url = f"http://localhost/api/hooks/{secret}"
    request = func.HttpRequest(method="POST", url=url, route_params=route_params, body=b"")
    assert telemetry._route(request) == "/api/hooks/{secret}"


README = json.loads(
    next(
        text
        for text in re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if "{{" in text
    )
)
FILLED = {
    "{{ticker}}": "ES1!",
    "{{strategy.order.action}}": "buy",
    "{{strategy.market_position}}": "long",
    "{{strategy.prev_market_position}}": "flat",
    "{{strategy.order.price}}": "6543.3125",
    "{{plot_0}}": "6540.1",
    "{{plot_1}}": "6550",
    "{{timenow}}": "2026-03-02T14:29:59Z",
}


async def test_the_readme_s_message_for_tradingview_is_understood(api: Api, hook: Hooked) -> None:
    door = await hook()
    filled = {name: FILLED[placeholder] for name, placeholder in README.items()}
    answered = await door.send(filled, headers={"content-type": "application/json; charset=utf-8"})
    assert (answered.status, answered.json["ignored"]) == (201, [])
    assert published(api) == [("entry", "LONG", "6543.25")]
    unfilled = await door.send(README)
    assert set(unfilled.fields) == set(README), "as it stands, without a strategy"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
async def test_no_body_is_a_fault_of_ours(api: Api, hooked: str, body: bytes) -> None:
    answered = await api.call("POST", f"hooks/{hooked}", content=body)
    assert answered.status in (200, 201, 400, 409, 415, 422, 403, 429)
