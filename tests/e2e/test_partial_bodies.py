"""Bars and trades of which some are bad, sent to the running stack by real clients."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import psycopg

from local.demo.replay import Replay
from shared.domain.market.bars import Bar
from tests.e2e.test_http_api import a_trade
from tests.support.market import bar
from tests.support.running import RunningStack
from tests.unit.examples.test_bot import connection

STRICT = {"Prefer": "respond-async, Handling = Strict"}


def some_bars(count: int, days_ago: int) -> list[dict[str, Any]]:
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=days_ago)
    prices = {"open": 71, "high": 72, "low": 70, "close": 71, "volume": 10}
    return [{"open_time": (start + timedelta(minutes=n)).isoformat()} | prices for n in range(count)]


def stored_minutes(stack: RunningStack, symbol: str, since: datetime) -> list[datetime]:
    with psycopg.connect(stack.document["database_url"]) as connection:
        query = "select open_time from bars where symbol = %s and open_time >= %s order by open_time"
        return [row[0] for row in connection.execute(query, [symbol, since]).fetchall()]


def own_ids(client: httpx.Client) -> set[str]:
    return {row["trade_id"] for row in client.get("/trades", params={"limit": 500}).json()["trades"]}


def test_one_bad_bar_does_not_refuse_4999_good_ones(stack: RunningStack) -> None:
    bars = some_bars(5_000, days_ago=30)
    bars[2_500]["high"] = "69"
    with stack.client("feeder") as feeder:
        answer = feeder.post("/bars", json={"symbol": "CL", "bars": bars}, timeout=30)
        refused = feeder.post("/bars", json={"symbol": "CL", "bars": bars}, headers=STRICT, timeout=30)
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert (report["received"], report["accepted"], report["inserted"]) == (5_000, 4_999, 4_999)
    ((bad,),) = [report["refused"]]
    assert (bad["index"], bad["code"]) == (2_500, "validation_failed")
    assert {error["field"] for error in bad["errors"]} == {"bars[2500].high"}
    minutes = [datetime.fromisoformat(each["open_time"]) for each in bars]
    assert stored_minutes(stack, "CL", minutes[0])[:4_999] == minutes[:2_500] + minutes[2_501:]
    assert (refused.status_code, refused.json()["code"]) == (422, "validation_failed")
    assert refused.headers["Preference-Applied"] == "handling=strict"


def test_a_strict_body_of_bars_with_a_bad_one_stores_nothing(stack: RunningStack) -> None:
    bars = some_bars(10, days_ago=60)
    bars[3]["volume"] = -1
    first = datetime.fromisoformat(bars[0]["open_time"])
    with stack.client("feeder") as feeder:
        answer = feeder.post("/bars", json={"symbol": "YM", "bars": bars}, headers=STRICT)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["bars[3].volume"]
        assert stored_minutes(stack, "YM", first) == []
        del bars[3]
        answer = feeder.post("/bars", json={"symbol": "YM", "bars": bars}, headers=STRICT)
    assert (answer.status_code, answer.json()["inserted"]) == (200, 9)
    assert answer.headers["Preference-Applied"] == "handling=strict"


def test_a_caller_finds_every_one_of_its_trades_again(stack: RunningStack) -> None:
    trades = [a_trade() for _ in range(500)]
    for place, change in ((7, {"quantity": 0}), (250, {"side": "UP"}), (499, {"trade_id": "no id!"})):
        trades[place] |= change
    key = stack.new_key("--requests-per-minute", "100")["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{stack.base_url}/api", headers=headers, timeout=30) as client:
        report = client.post("/trades", json={"trades": trades}).json()
        assert own_ids(client) == {trades[result["index"]]["trade_id"] for result in report["results"]}
    assert (report["accepted"], report["recorded"]) == (497, 497)
    assert [each["index"] for each in report["refused"]] == [7, 250, 499]
    assert all(trades[each["index"]]["trade_id"] == each["trade_id"] for each in report["results"])
    places = [each["index"] for name in ("results", "refused") for each in report[name]]
    assert sorted(places) == [*range(500)]


def test_a_strict_report_with_a_bad_trade_records_nothing(stack: RunningStack) -> None:
    good, bad = a_trade(), a_trade(quantity=0)
    with stack.client("bot") as client:
        answer = client.post("/trades", json={"trades": [good, bad]}, headers=STRICT)
        assert [error["field"] for error in answer.json()["errors"]] == ["trades[1].quantity"]
        assert (answer.status_code, good["trade_id"] in own_ids(client)) == (422, False)
        assert client.post("/trades", json={"trades": [good, bad]}).json()["recorded"] == 1
        assert good["trade_id"] in own_ids(client)


def test_a_replay_tells_a_bad_bar_and_goes_on(stack: RunningStack) -> None:
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=90)
    bars: list[Bar] = [bar(start + timedelta(minutes=n), 2_100 + n % 3) for n in range(30)]
    bars[17] = msgspec.structs.replace(bars[17], volume=2_000_000_000)
    said: list[str] = []
    replay = Replay(
        bars,
        symbol="RTY",
        source="replay",
        speed=6_000,
        base_url=stack.base_url,
        key=stack.key("feeder"),
        say=said.append,
    )
    asyncio.run(replay.run())
    minutes = stored_minutes(stack, "RTY", start)
    assert minutes[:29] == [each.open_time for place, each in enumerate(bars) if place != 17]
    (line,) = said
    assert line.endswith("volume: Must be from 0 to 1000000000.")


class Told(list[tuple[str, dict[str, Any]]]):
    """A journal that can be read."""

    def tell(self, event: str, **facts: Any) -> None:
        self.append((event, facts))


def test_the_example_bot_tells_which_of_its_trades_were_refused(stack: RunningStack) -> None:
    told, fatal = Told(), list[str]()
    api = connection.Api(stack.base_url, stack.key("bot"), told)
    reporter = connection.Reporter(api, told, fatal.append)
    trades = [a_trade(), a_trade(quantity=0), a_trade()]
    for trade in trades:
        reporter.add(trade)
    left = reporter.flush()
    api._client.close()
    assert (left, reporter.acknowledged, fatal) == (0, 2, [])
    reported = [facts["trade_id"] for event, facts in told if event == "reported"]
    assert reported == [trades[0]["trade_id"], trades[2]["trade_id"]]
    refused = [(facts["trade_id"], facts["problem"]) for event, facts in told if event == "trade_refused"]
    assert refused == [(trades[1]["trade_id"], "quantity: Expected more than 0.")]
