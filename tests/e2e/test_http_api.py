"""Every route of the running stack, as a bot meets it."""

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import aiohttp
import httpx
import pytest
import redis

from tests.support.running import RunningStack
from tests.support.samples import priced
from tests.support.strategies import REVERSAL, STRATEGIES
from tests.support.webpubsub import BareClient

# An exit, because an entry is refused while its market is closed.
AN_EXIT = {"symbol": "RTY", "side": "LONG", "kind": "exit", "price": "2100"}
STATE = {"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}


@pytest.fixture
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    with stack.client("bot") as client:
        yield client


def a_trade(**changes: Any) -> dict[str, Any]:
    """A trade whose pnl follows from its prices, unless a test gives it."""
    exit_at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    trade = {
        "trade_id": uuid4().hex,
        "symbol": "ES",
        "side": "LONG",
        "entry_price": "6543.25",
        "exit_price": "6545.50",
        "entry_at": (exit_at - timedelta(minutes=10)).isoformat(),
        "exit_at": exit_at.isoformat(),
        "features": {"vwap_distance": 2.1, "rsi": 35},
        **changes,
    }
    return priced(trade) | changes


def test_the_customers_own_request_gets_a_confidence_with_every_field(api: httpx.Client) -> None:
    state = {**STATE, "rsi": 11}
    first = api.post("/ml/get_confidence", json=state).json()
    assert list(first) == [
        "confidence",
        "symbol",
        "signal_type",
        "strategy",
        "model_version",
        "basis",
        "cached",
        "age_ms",
    ]
    assert 0 <= first["confidence"] <= 1
    assert (first["strategy"], first["basis"], first["cached"]) == ("vwap_bounce", "base_rate", False)
    second = api.post("/ml/get_confidence", json=state).json()
    assert (second["cached"], second["confidence"]) == (True, first["confidence"])


def test_a_confidence_is_cached_for_two_seconds(api: httpx.Client) -> None:
    state = {**STATE, "rsi": 12}
    assert not api.post("/ml/get_confidence", json=state).json()["cached"]
    deadline = time.monotonic() + 4
    ages = []
    while (answer := api.post("/ml/get_confidence", json=state).json())["cached"]:
        ages.append(answer["age_ms"])
        assert time.monotonic() < deadline
        time.sleep(0.25)
    assert ages == sorted(ages)
    assert 1_000 < ages[-1] <= 2_000


def test_who_may_not_ask_about_a_symbol_holds_up_nobody(stack: RunningStack, api: httpx.Client) -> None:
    state = {**STATE, "rsi": 13}
    stranger = {"Authorization": f"Bearer {stack.new_key('--symbols', 'NQ')['key']}"}
    assert api.post("/ml/get_confidence", json=state, headers=stranger).status_code == 403
    with redis.Redis.from_url(stack.document["redis_url"]) as cache:
        assert not [*cache.scan_iter("lock:*")]
    assert not api.post("/ml/get_confidence", json=state).json()["cached"]


def test_the_other_strategy_is_asked_by_name(api: httpx.Client) -> None:
    answer = api.post("/ml/get_confidence", json=REVERSAL)
    assert answer.status_code == 200, answer.text
    assert answer.json()["strategy"] == "capitulation_reversal"


def test_a_batch_is_answered_in_order_as_single_requests_are(api: httpx.Client) -> None:
    states = [{**STATE, "symbol": symbol, "rsi": rsi} for symbol in ("ES", "NQ") for rsi in range(20, 50)]
    answers = api.post("/ml/get_confidence/batch", json={"states": states}).json()["confidences"]
    single = api.post("/ml/get_confidence", json=states[31]).json()
    assert [answer["symbol"] for answer in answers] == [state["symbol"] for state in states]
    assert answers[31]["confidence"] == single["confidence"]
    too_many = api.post("/ml/get_confidence/batch", json={"states": [STATE] * 101})
    assert (too_many.status_code, too_many.json()["code"]) == (413, "batch_too_large")


def test_a_trade_is_recorded_once_however_often_it_is_sent(api: httpx.Client) -> None:
    trade = a_trade()
    assert api.post("/trades", json=trade).json()["recorded"] == 1
    again = api.post(
        "/trades", json={"trades": [trade, a_trade(trade_id=trade["trade_id"], fees="1")]}
    ).json()
    assert (again["recorded"], again["duplicates"], again["conflicts"]) == (0, 1, 1)
    mine = api.get("/trades", params={"limit": 500}).json()["trades"]
    stored = next(row for row in mine if row["trade_id"] == trade["trade_id"])
    assert (stored["pnl"], stored["entry_price"], stored["features"]) == (
        "112.5",
        "6543.25",
        trade["features"],
    )


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_packed_report_is_recorded_and_a_bomb_is_not(api: httpx.Client, coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zlib.compress
    trade = a_trade(fees=0.000_000_01)
    headers = {"content-type": "application/json", "content-encoding": coding}
    answered = api.post("/trades", content=pack(json.dumps(trade).encode()), headers=headers)
    assert answered.json()["recorded"] == 1
    mine = api.get("/trades", params={"limit": 500}).json()["trades"]
    assert [row["fees"] for row in mine if row["trade_id"] == trade["trade_id"]] == ["0.00000001"]
    bomb = api.post("/trades", content=pack(bytes(20 * 1024 * 1024)), headers=headers)
    assert (bomb.status_code, bomb.json()["code"]) == (413, "body_too_large")


def test_another_coding_is_told_those_that_are_accepted(api: httpx.Client) -> None:
    answered = api.post("/trades", json=a_trade(), headers={"content-encoding": "br"})
    assert (answered.status_code, answered.headers["accept-encoding"]) == (415, "gzip, deflate")


def test_pages_of_trades_meet_without_gap_or_overlap(stack: RunningStack) -> None:
    with stack.client("bot2") as api:
        sent = [a_trade() for _ in range(7)]
        assert api.post("/trades", json={"trades": sent}).json()["recorded"] == 7
        seen, cursor = [], None
        while True:
            page = api.get("/trades", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
            seen += [row["trade_id"] for row in page["trades"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert len(seen) == len(set(seen))
    assert {trade["trade_id"] for trade in sent} <= set(seen)


def test_one_account_sees_nothing_of_another(stack: RunningStack) -> None:
    secret = a_trade(symbol="NQ")
    with stack.client("bot") as one, stack.client("bot2") as other:
        assert one.post("/trades", json=secret).json()["recorded"] == 1
        before = other.get("/performance").json()
        theirs = other.get("/trades", params={"limit": 500}).json()["trades"]
        assert secret["trade_id"] not in {row["trade_id"] for row in theirs}
        # The same id is free for another account: ids of bots must not meet.
        assert other.post("/trades", json=secret).json()["recorded"] == 1
        after = other.get("/performance").json()
    assert after["trades"] == before["trades"] + 1


def test_performance_is_told_overall_and_by_symbol(stack: RunningStack) -> None:
    key = stack.new_key()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{stack.base_url}/api", headers=headers) as api:
        trades = [
            a_trade(symbol="YM", confidence=0.6),
            a_trade(symbol="YM", exit_price="6533.25"),
            a_trade(symbol="YM", exit_price="6543.65", fees="4.50"),
            a_trade(symbol="ES"),
        ]
        api.post("/trades", json={"trades": trades})
        told = api.get("/performance").json()
        of_ym = api.get("/performance", params={"symbol": "YM"}).json()
    assert (told["trades"], Decimal(told["pnl"]), Decimal(told["fees"])) == (
        4,
        Decimal("75.75"),
        Decimal("4.5"),
    )
    assert [row["symbol"] for row in told["by_symbol"]] == ["ES", "YM"]
    # A gain of 2.00 with fees of 4.50 is a loss.
    assert (of_ym["trades"], Decimal(of_ym["net_pnl"]), of_ym["wins"]) == (3, Decimal("-41.25"), 1)


def test_signals_come_back_in_sequence_order(stack: RunningStack) -> None:
    with stack.client("publisher") as publisher, stack.client("bot") as bot:
        made = [
            publisher.post("/signals", json=AN_EXIT | {"price": price}).json()["sequence"]
            for price in ("2100.1", "2100.2", "2100.3")
        ]
        page = bot.get("/signals", params={"symbol": "RTY", "after": made[0] - 1}).json()
    assert [message["sequence"] for message in page["signals"]] == made
    assert [message["signal"]["price"] for message in page["signals"]] == ["2100.1", "2100.2", "2100.3"]
    assert (page["next_after"], page["last_sequence"]) == (made[-1], made[-1])


def test_an_idempotency_key_publishes_once(stack: RunningStack) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    signal = AN_EXIT | {"side": "SHORT", "price": "2101"}
    with stack.client("publisher") as publisher:
        first = publisher.post("/signals", json=signal, headers=headers)
        second = publisher.post("/signals", json=signal, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_bars_are_taken_once(stack: RunningStack) -> None:
    minute = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)
    bars = [
        {
            "open_time": (minute + timedelta(minutes=n)).isoformat(),
            "open": "100",
            "high": "101",
            "low": "99.5",
            "close": "100.25",
            "volume": 10,
        }
        for n in range(3)
    ]
    with stack.client("feeder") as feeder:
        first = feeder.post("/bars", json={"symbol": "CL", "bars": bars}).json()
        second = feeder.post("/bars", json={"symbol": "CL", "bars": bars}).json()
        third = feeder.post("/bars", json={"symbol": "CL", "bars": [bars[1] | {"volume": 11}]}).json()
        earlier = bars[0] | {"open_time": (minute - timedelta(minutes=1)).isoformat()}
        fourth = feeder.post("/bars", json={"symbol": "CL", "bars": [earlier]}).json()
        # The next minute, because the present one may be over when it arrives.
        next_minute = (datetime.now(UTC) + timedelta(minutes=1)).replace(second=0, microsecond=0)
        ahead = bars[0] | {"open_time": next_minute.isoformat()}
        refused = feeder.post("/bars", json={"symbol": "CL", "bars": [ahead]})
    assert (first["received"], first["inserted"], first["duplicates"]) == (3, 3, 0)
    assert (second["inserted"], second["duplicates"], second["signals"]) == (0, 3, [])
    assert (third["inserted"], third["duplicates"], third["corrected"]) == (0, 0, 1)
    assert (fourth["inserted"], fourth["late"]) == (1, 1)
    assert refused.status_code == 422
    assert "open_time is the start of the minute" in refused.json()["errors"][0]["message"]


def test_the_license_tells_plan_limits_and_usage(api: httpx.Client) -> None:
    first, second = api.get("/license").json(), api.get("/license").json()
    assert first["requests_per_minute"] == 10_000
    assert second["requests_remaining"] < first["requests_remaining"]
    assert "ES" in first["symbols"]


def test_negotiate_gives_groups_for_what_was_asked(api: httpx.Client) -> None:
    access = api.post("/ws/negotiate", json={"symbols": ["ES", "NQ"]}).json()
    assert access["groups"] == ["symbol.ES", "symbol.NQ"]
    assert access["url"].startswith("ws")
    assert len(api.post("/ws/negotiate").json()["groups"]) == 5


async def test_a_plain_websocket_hears_heartbeats_of_all_symbols_without_joining_a_group(
    stack: RunningStack,
) -> None:
    made = await asyncio.to_thread(stack.new_key, "--symbols", "NQ")
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(base_url=f"{stack.base_url}/api", headers=headers) as api:
        access = (await api.post("/ws/negotiate")).json()
    assert access["groups"] == ["symbol.NQ"]
    async with aiohttp.ClientSession() as session, session.ws_connect(access["url"]) as socket:
        assert socket.protocol is None
        beat = await socket.receive_json(timeout=25)
    assert (beat["type"], beat["version"]) == ("heartbeat", 2)
    assert {"ES", "NQ"} < beat["sequences"].keys(), "one message for all, also for a license of one symbol"


def test_status_counts_what_was_asked(stack: RunningStack) -> None:
    with stack.client("ops") as ops, stack.client("bot") as bot:
        before = ops.get("/status").json()["counts"].get("confidence_asked", 0)
        bot.post("/ml/get_confidence", json=STATE)
        status = ops.get("/status").json()
        assert status["counts"]["confidence_asked"] > before
    assert {model["strategy"] for model in status["models"]} == set(STRATEGIES)


def test_health_asks_for_no_key(stack: RunningStack) -> None:
    with httpx.Client(base_url=f"{stack.base_url}/api") as client:
        assert client.get("/health").json() == {"status": "pass"}
        ready = client.get("/health/ready")
        document = client.get("/openapi.json").json()
    assert ready.status_code == 200
    assert ready.json()["checks"]["database"]["status"] == "pass"
    assert document["openapi"] == "3.1.0"


def test_rate_headers_let_a_client_pace_itself(api: httpx.Client) -> None:
    headers = api.get("/license").headers
    assert headers["ratelimit-policy"] == '"default";q=10000;w=60'
    assert headers["ratelimit"].startswith('"default";r=')


def test_a_request_id_is_kept_when_it_is_one(api: httpx.Client) -> None:
    assert api.get("/license", headers={"x-request-id": "my-id-1"}).headers["x-request-id"] == "my-id-1"
    assert api.get("/license", headers={"x-request-id": "no id!"}).headers["x-request-id"] != "no id!"


@pytest.mark.parametrize("subject", ["public_id", "license_id"])
async def test_a_revocation_closes_open_connections_and_refuses_new_ones(
    stack: RunningStack, subject: str
) -> None:
    made = await asyncio.to_thread(stack.new_key, "--symbols", "ES")
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with (
        httpx.AsyncClient(base_url=f"{stack.base_url}/api", headers=headers) as api,
        aiohttp.ClientSession() as session,
    ):
        access, unused = [(await api.post("/ws/negotiate")).json() for _ in range(2)]
        async with session.ws_connect(access["url"], protocols=("json.webpubsub.azure.v1",)) as ws:
            client = BareClient(ws)
            assert (await client.next())["event"] == "connected"
            await client.send(type="joinGroup", group=access["groups"][0])
            await asyncio.to_thread(stack.license, "revoke", made[subject])
            while (frame := await client.next(20))["type"] != "system":
                if frame["data"]["type"] == "revoked":  # and not a heartbeat
                    told = frame["data"]["reason"]
            assert (frame["event"], told.split()[-1]) == ("disconnected", "revoked")
            await client.closed()
        assert (await api.post("/ws/negotiate")).status_code in (401, 403)
        # A client access URL from before holds for minutes more, and was not used.
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(unused["url"], protocols=("json.webpubsub.azure.v1",))
        assert refused.value.status == (401 if subject == "public_id" else 403)


def test_events_that_web_pubsub_did_not_send_are_refused(stack: RunningStack) -> None:
    headers = {
        "ce-type": "azure.webpubsub.sys.connect",
        "ce-hub": "signals",
        "ce-connectionId": "c-1",
        "ce-userId": "somebody",
        "ce-signature": "sha256=00",
    }
    url = f"{stack.base_url}/api/ws/events"
    answer = httpx.post(url, headers=headers, json={"claims": {}})
    assert (answer.status_code, answer.json()["code"]) == (401, "key_unknown")
    answer = httpx.post(url, json={})
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 3)
    assert httpx.options(url, headers={"WebHook-Request-Origin": "stranger"}).status_code == 422
