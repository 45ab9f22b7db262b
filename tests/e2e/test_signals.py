"""Publishing over HTTP on a running stack whose market clock is that of its bars: its market is open."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.conftest import stack_directory
from tests.support.running import RunningStack
from tests.support.stacks import local_stack

# The last hour of a Friday's session.
FRIDAY = datetime(2025, 10, 17, 20, 0, tzinfo=UTC)
ENTRY = {"symbol": "ES", "side": "LONG", "price": "6500.25"}


@pytest.fixture(scope="module")
def replay() -> Iterator[RunningStack]:
    with stack_directory() as made, local_stack("up", made / "state", MARKET_CLOCK="bars") as started:
        started.await_ready()
        stack = RunningStack(started.state)
        send_bar(stack, FRIDAY)
        yield stack


def send_bar(stack: RunningStack, open_time: datetime) -> None:
    prices = {"open": "6500", "high": "6501", "low": "6499", "close": "6500.25", "volume": 100}
    bars = [{"open_time": open_time.isoformat(), **prices}]
    with stack.client("feeder") as feeder:
        feeder.post("/bars", json={"symbol": "ES", "bars": bars}).raise_for_status()


def publish(stack: RunningStack, key: str | None = None, **changed: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    with stack.client("publisher") as publisher:
        return publisher.post("/signals", json=ENTRY | changed, headers=headers)


def errors_of(response: httpx.Response) -> dict[str, str]:
    assert response.status_code in (409, 422), response.text
    return {error["field"]: error["message"] for error in response.json()["errors"]}


def test_an_entry_happens_at_the_time_of_the_bars_and_is_not_made_twice(replay: RunningStack) -> None:
    first = publish(replay)
    assert first.status_code == 201
    assert first.json()["event_at"] == "2025-10-17T20:01:00Z"
    again = publish(replay, features={"rsi": 30})
    assert (again.status_code, again.json()) == (200, first.json())
    other = publish(replay, uuid4().hex)
    assert (other.status_code, other.json()["sequence"]) == (201, first.json()["sequence"] + 1)


def test_an_expired_entry_is_told_by_how_much(replay: RunningStack) -> None:
    two_days_ago = (FRIDAY - timedelta(days=2)).isoformat()
    for name, by in (("event_at", "1 day 23 h"), ("expires_at", "2 days")):
        said = errors_of(publish(replay, **{name: two_days_ago}))
        assert f"expired {by} ago" in said[name]
        assert "2025-10-17T20:01:00Z" in said[name]


def test_prices_without_sense_are_named_together(replay: RunningStack) -> None:
    said = errors_of(publish(replay, price="6500.10", stop_price="6510", target_price="-1"))
    assert said.keys() == {"price", "stop_price", "target_price"}
    assert errors_of(publish(replay, price="999999999")).keys() == {"price"}
    assert "the last price of ES" in errors_of(publish(replay, price="650"))["price"]


def test_one_key_is_one_signal_whatever_its_symbol(replay: RunningStack) -> None:
    key = uuid4().hex
    first = publish(replay, key)
    assert (first.status_code, publish(replay, key).json()) == (201, first.json())
    other = publish(replay, key, symbol="NQ", expires_at="2025-10-17T20:20:00Z")
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert errors_of(other).keys() == {"symbol", "expires_at"}


def test_a_strategy_that_published_can_be_reported_but_has_no_confidence(replay: RunningStack) -> None:
    # A month so long ago has no partition for trades.
    name, now = f"mine_{uuid4().hex[:8]}", datetime.now(UTC)
    trade = {
        "trade_id": name,
        "symbol": "ES",
        "side": "LONG",
        "strategy": name,
        "entry_price": "6500.25",
        "exit_price": "6502.25",
        "entry_at": (now - timedelta(minutes=2)).isoformat(),
        "exit_at": now.isoformat(),
        "pnl": "100",
        "features": {"news": "CPI"},
    }
    state = {"symbol": "ES", "signal_type": "LONG", "strategy": name}
    with replay.client("bot") as bot:
        assert bot.post("/trades", json=trade).status_code == 422
        assert bot.post("/ml/get_confidence", json=state).status_code == 422
        assert publish(replay, strategy=name).status_code == 201
        assert bot.post("/trades", json=trade).json()["recorded"] == 1
        for path, body in (("", state), ("/batch", {"states": [state]})):
            answer = bot.post(f"/ml/get_confidence{path}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, "no_confidence")
        assert bot.get("/performance").json()["trades"] == 1


def test_after_the_last_bar_of_the_week_only_exits_are_published(replay: RunningStack) -> None:
    """Moves the market clock on, so it stands last."""
    send_bar(replay, FRIDAY + timedelta(minutes=59))
    said = errors_of(publish(replay, uuid4().hex))
    assert "It opens next at 2025-10-19T22:00:00Z." in said["symbol"]
    assert publish(replay, uuid4().hex, kind="exit").status_code == 201
