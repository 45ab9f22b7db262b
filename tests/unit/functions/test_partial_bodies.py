"""A bad bar or trade does not refuse the others, unless the caller prefers that."""

import json
import re
from typing import Any

import pytest

from functions.web.declaration import Route
from functions.web.routes import declared_routes
from tests.support.api import Answered, Api
from tests.support.places import ROOT
from tests.support.requests import BAR, TRADE

IN_PART = [route for route in declared_routes() if route.body is not None and route.body.in_part]
STRICT = {"prefer": "handling=strict"}


def items(path: str, *bad: int, count: int = 4) -> list[dict[str, Any]]:
    """Distinct items of the route, of which those at the places `bad` are bad in different ways."""
    if path == "bars":
        good = [BAR | {"open_time": f"2026-03-02T14:{n:02}:00Z"} for n in range(count)]
        wrong: list[dict[str, Any]] = [{"low": 9, "high": 9}, {"volume": "many"}, {"colour": "red"}]
    else:
        good = [TRADE | {"trade_id": f"t-{n}"} for n in range(count)]
        # A point of YM is worth 5 USD: a tenth of that of ES.
        unlicensed = {"symbol": "YM", "pnl": "11.25"}
        wrong = [{"quantity": 0}, {"side": "UP"}, {"colour": "red"}, unlicensed]
    return [
        each | (wrong[bad.index(place) % len(wrong)] if place in bad else {})
        for place, each in enumerate(good)
    ]


async def send(api: Api, path: str, sent: list[Any], **given: Any) -> Answered:
    key = await api.key("feeder" if path == "bars" else "bot")
    body = {"symbol": "ES", "bars": sent} if path == "bars" else {"trades": sent}
    return await api.call("POST", path, key=key, body=body, **given)


def stored(api: Api, path: str) -> int:
    return len(api.stores.bars.bars.get("ES", ()) if path == "bars" else api.stores.trades.recorded)


def new(answered: Answered) -> int:
    return int(answered.json["inserted" if "inserted" in answered.json else "recorded"])


def test_bars_and_trades_are_the_bodies_that_are_accepted_in_part() -> None:
    assert {route.path for route in IN_PART} == {"bars", "trades"}


@pytest.mark.parametrize("route", IN_PART, ids=lambda route: route.path)
async def test_the_good_items_are_stored_and_the_bad_ones_told(api: Api, route: Route) -> None:
    answered = await send(api, route.path, items(route.path, 0, 2))
    assert answered.status == 200
    assert (answered.json["accepted"], new(answered), stored(api, route.path)) == (2, 2, 2)
    assert [each["index"] for each in answered.json["refused"]] == [0, 2]
    for each in answered.json["refused"]:
        assert each["code"] == "validation_failed"
        assert each["message"]
        assert all(error["field"].startswith(f"{route.path}[{each['index']}].") for error in each["errors"])
    assert api.counts[f"{route.path}_refused"] == 2
    assert "preference-applied" not in answered.headers


@pytest.mark.parametrize("route", IN_PART, ids=lambda route: route.path)
async def test_corrected_items_are_accepted_beside_the_known_ones(api: Api, route: Route) -> None:
    await send(api, route.path, items(route.path, 1))
    answered = await send(api, route.path, items(route.path))
    assert (answered.json["accepted"], new(answered), answered.json["duplicates"]) == (4, 1, 3)


@pytest.mark.parametrize("route", IN_PART, ids=lambda route: route.path)
async def test_a_strict_caller_gets_all_or_nothing(api: Api, route: Route) -> None:
    refused = await send(api, route.path, items(route.path, 1, 3), headers=STRICT)
    assert (refused.status, refused.code) == (422, "validation_failed")
    assert {field.partition(".")[0] for field in refused.fields} == {f"{route.path}[1]", f"{route.path}[3]"}
    assert "2 of 4" in refused.json["detail"]
    assert refused.headers["preference-applied"] == "handling=strict"
    assert (stored(api, route.path), api.counts) == (0, {})
    taken = await send(api, route.path, items(route.path), headers=STRICT)
    assert (taken.status, new(taken), taken.json["refused"]) == (200, 4, [])
    assert taken.headers["preference-applied"] == "handling=strict"


@pytest.mark.parametrize("route", IN_PART, ids=lambda route: route.path)
@pytest.mark.parametrize("prefer", ["handling=lenient", "handling=careful", "respond-async", '"'])
async def test_any_other_preference_is_no_obstacle(api: Api, route: Route, prefer: str) -> None:
    answered = await send(api, route.path, items(route.path, 1), headers={"prefer": prefer})
    assert (answered.status, answered.json["accepted"]) == (200, 3)
    applied = "handling=lenient" if prefer == "handling=lenient" else None
    assert answered.headers.get("preference-applied") == applied


@pytest.mark.parametrize("route", IN_PART, ids=lambda route: route.path)
async def test_a_body_without_a_good_item_is_refused(api: Api, route: Route) -> None:
    answered = await send(api, route.path, items(route.path, 0, 1, 2, count=3))
    assert (answered.status, answered.code) == (422, "validation_failed")
    assert {field.partition(".")[0] for field in answered.fields} == {f"{route.path}[{n}]" for n in range(3)}
    assert stored(api, route.path) == 0
    unknown = await send(api, route.path, [items(route.path)[0] | {"colour": "red"}])
    assert (unknown.status, unknown.code) == (422, "unknown_field")


@pytest.mark.parametrize("route", IN_PART, ids=lambda route: route.path)
async def test_a_fault_of_the_body_refuses_all_of_it(api: Api, route: Route) -> None:
    good = items(route.path)
    key = await api.key(*("feeder", "bot"))
    body: dict[str, Any] = {"symbol": "ES", "bars": good} if route.path == "bars" else {"trades": good}
    for bad in (body | {"colour": 1}, body | {route.path: {}}, [good], body | {route.path: []}):
        answered = await api.call("POST", route.path, key=key, body=bad)
        assert answered.status == 422
    assert (
        await api.call("POST", route.path, key=key, content=b'{"%s":[{},' % route.path.encode())
    ).status == 400
    assert stored(api, route.path) == 0


async def test_each_result_says_which_sent_trade_it_is_of(api: Api) -> None:
    sent = items("trades", 1, 4, 5, 7, count=9)
    sent[8] = sent[0]  # the same trade again
    answered = await send(api, "trades", sent)
    assert [(each["index"], each["trade_id"], each["status"]) for each in answered.json["results"]] == [
        (0, "t-0", "recorded"),
        (2, "t-2", "recorded"),
        (3, "t-3", "recorded"),
        (6, "t-6", "recorded"),
        (8, "t-0", "duplicate"),
    ]
    assert [(each["index"], each["code"]) for each in answered.json["refused"]] == [
        (1, "validation_failed"),
        (4, "validation_failed"),
        (5, "unknown_field"),
        (7, "symbol_not_licensed"),
    ]


async def test_every_sent_trade_counts_for_the_limit_also_a_refused_one(api: Api) -> None:
    key = await api.key("bot", limit=30)
    sent = [TRADE, *[{}] * 60, *[TRADE | {"quantity": 0}] * 60]
    answered = await api.call("POST", "trades", key=key, body={"trades": sent})
    assert (answered.status, answered.json["accepted"]) == (200, 1)
    assert answered.headers["ratelimit"].startswith('"default";r=27;')


async def test_the_answer_that_the_readme_shows_is_the_one_that_comes(api: Api) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```json\n(.*\"refused\".*)\n```$", readme, re.MULTILINE)
    sent = [TRADE | {"trade_id": f"my-{n}"} for n in (1, 2, 3)]
    sent[1]["side"] = "UP"
    assert (await send(api, "trades", sent)).json == json.loads(shown)
