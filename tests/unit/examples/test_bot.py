"""What examples/bot.py decides by itself: order, paper fills, and never looking into the future."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.decoding import decode
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.problems import Problems
from shared.domain.trading.trades import Trade, check_trade
from tests.support.example_modules import load

START = datetime(2025, 10, 13, 13, 30, tzinfo=UTC)


broker = load("paper_broker")
connection = load("connection")
signal_order = load("signal_order")
bot = load("bot")


def bars(*rows: tuple[str, str, str, str]) -> list[Any]:
    return [
        broker.Bar(START + timedelta(minutes=n), *(Decimal(price) for price in row))
        for n, row in enumerate(rows)
    ]


def signal(
    side: str = "LONG", stop: str | None = "95", target: str | None = "105", **more: Any
) -> dict[str, Any]:
    return {
        "symbol": "ES",
        "sequence": 1,
        "side": side,
        "strategy": "vwap_bounce",
        "event_at": START.isoformat(),
        "stop_price": stop,
        "target_price": target,
        "features": {"rsi": 28.5, "vwap_distance": 2.1, "made_up": 1.0},
        **more,
    }


class Desk:
    """A broker over `rows`, whose market clock the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: list[Any], speed: float = 60.0) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(broker.time, "monotonic", lambda: self.now)
        self.trades: list[dict[str, Any]] = []
        self.market = broker.Market("ES", rows, speed)
        self.broker = broker.Broker("bot", self.market, self.trades.append)


def flat(count: int) -> list[Any]:
    return bars(*[("100", "101", "99", "100")] * count)


def test_target_is_filled_at_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, bars(("100", "101", "99", "100"), ("100", "107", "100", "106")))
    desk.broker.enter(signal(), {"confidence": 0.6, "model_version": "m1"}, 0.0)
    desk.market.set_clock(START + timedelta(minutes=2), exact=True)
    desk.broker.tick()
    (trade,) = desk.trades
    assert (trade["entry_price"], trade["exit_price"]) == ("100", "105")
    assert (Decimal(trade["pnl"]), Decimal(trade["fees"])) == (Decimal(250), Decimal("4.50")), "before fees"
    assert trade["entry_at"] == START.isoformat()
    assert trade["exit_at"] == (START + timedelta(minutes=2)).isoformat()
    assert (trade["confidence"], trade["model_version"]) == (0.6, "m1")
    assert trade["features"] == {"rsi": 28.5, "vwap_distance": 2.1}


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
@pytest.mark.parametrize("symbol", sorted(INSTRUMENTS))
def test_the_server_accepts_what_the_broker_reports(
    monkeypatch: pytest.MonkeyPatch, symbol: str, side: str
) -> None:
    desk = Desk(monkeypatch, bars(("100", "101", "99", "100"), ("100", "107", "98", "106")))
    desk.broker.market.symbol = symbol
    desk.broker.enter(signal(side, stop=None, target=None, symbol=symbol), {}, 0.0)
    desk.market.set_clock(START + timedelta(minutes=2), exact=True)
    desk.broker.tick()
    problems = Problems()
    trade = decode(msgspec.json.encode(desk.trades[0]), Trade)
    check_trade(trade, START + timedelta(hours=1), problems, max_age=None)
    assert not list(problems)
    gained = 6 if side == "LONG" else -6
    assert trade.net_pnl == gained * INSTRUMENTS[symbol].point_value - Decimal("4.50")


def test_one_tick_of_every_known_instrument_is_worth_more_than_a_round_trip_costs() -> None:
    """So a signal that ends one tick ahead wins after costs too, see shared/domain/market/outcomes.py."""
    for instrument in INSTRUMENTS.values():
        assert instrument.tick_size * instrument.point_value > broker.ROUND_TRIP_FEES_USD


def test_stop_wins_over_a_target_in_the_same_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, bars(("100", "110", "90", "100")))
    desk.broker.enter(signal("SHORT", stop="104", target="96"), {}, 0.0)
    desk.market.set_clock(START + timedelta(minutes=1), exact=True)
    desk.broker.tick()
    assert desk.trades[0]["exit_price"] == "104"
    assert "confidence" not in desk.trades[0]


def test_gap_through_the_stop_is_filled_at_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, bars(("100", "101", "99", "100"), ("90", "91", "88", "89")))
    desk.broker.enter(signal(), {}, 0.0)
    desk.market.set_clock(START + timedelta(minutes=2), exact=True)
    desk.broker.tick()
    assert desk.trades[0]["exit_price"] == "90"


def test_time_limit_closes_at_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, flat(60))
    desk.broker.enter(signal(), {}, 0.0)
    desk.market.set_clock(START + timedelta(minutes=60), exact=True)
    desk.broker.tick()
    assert desk.trades[0]["exit_at"] == (START + timedelta(minutes=broker.TIME_LIMIT_BARS)).isoformat()


def test_nothing_is_traded_on_bars_that_have_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bars(("100", "101", "99", "100"), ("100", "101", "99", "100"), ("100", "107", "100", "106"))
    desk = Desk(monkeypatch, rows)
    desk.broker.enter(signal(), {}, 0.0)
    desk.market.set_clock(START + timedelta(minutes=2), exact=True)
    desk.broker.tick()
    assert desk.trades == []
    desk.now += 0.9  # at 60 times real time a bar takes a second
    desk.broker.tick()
    assert desk.trades == []
    desk.now += 0.2
    desk.broker.tick()
    assert [trade["exit_price"] for trade in desk.trades] == ["105"]


def test_clock_is_corrected_by_heartbeats_and_never_runs_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, flat(100))
    desk.market.set_clock(START + timedelta(minutes=10), exact=False)
    desk.now += 20
    assert desk.market.closed() == 30
    desk.market.set_clock(START + timedelta(minutes=15), exact=False)  # a signal that was on its way long
    assert desk.market.closed() == 30
    desk.market.set_clock(START + timedelta(minutes=25), exact=True)  # the replay was slower than thought
    assert desk.market.closed() == 30
    desk.now += 7
    assert desk.market.closed() == 32


def test_a_time_after_the_last_bar_does_not_set_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, flat(100))
    desk.market.set_clock(START + timedelta(days=400), exact=True)  # a heartbeat before the first bar is in
    assert desk.market.closed() == 0
    desk.market.set_clock(START + timedelta(minutes=1), exact=False)
    assert desk.market.closed() == 1
    assert desk.market.lateness_s(START + timedelta(minutes=1)) == 0
    desk.market.set_clock(START + timedelta(minutes=100), exact=True)
    assert desk.market.closed() == 100


def test_lateness_is_counted_in_real_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, flat(100), speed=600.0)
    desk.market.set_clock(START + timedelta(minutes=50), exact=True)
    assert desk.market.lateness_s(START + timedelta(minutes=20)) == pytest.approx(3.0)
    assert desk.market.lateness_s(START + timedelta(minutes=50)) == 0


def test_exit_signal_closes_at_the_next_open(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bars(("100", "101", "99", "100"), ("102", "103", "101", "102"), ("103", "103", "101", "102"))
    desk = Desk(monkeypatch, rows)
    desk.broker.enter(signal(), {}, 0.0)
    desk.market.set_clock(START + timedelta(minutes=1), exact=True)
    desk.broker.tick()
    desk.broker.exit(signal(kind="exit"))
    desk.market.set_clock(START + timedelta(minutes=2), exact=True)
    desk.broker.tick()
    assert [trade["exit_price"] for trade in desk.trades] == ["102"]


@given(st.permutations(list(range(1, 12))), st.lists(st.integers(1, 11), max_size=20))
def test_every_signal_is_given_out_once_and_in_order(order: list[int], again: list[int]) -> None:
    sequence = signal_order.Sequence(acted=0)
    acted: list[int] = []
    for number in [*order, *again]:
        sequence.offer({"sequence": number})
        acted.extend(message["sequence"] for message in sequence.ready())
    assert acted == list(range(1, 12))


def test_gap_is_missed_only_after_threads_had_time_to_reorder() -> None:
    sequence = signal_order.Sequence(acted=4)
    now = time.monotonic()
    assert not sequence.is_missing(now)
    sequence.offer({"sequence": 6})
    assert list(sequence.ready()) == []
    assert not sequence.is_missing(now)
    assert sequence.is_missing(now + 2 * signal_order.REORDER_S)
    sequence.offer({"sequence": 5})
    assert [message["sequence"] for message in sequence.ready()] == [5, 6]
    assert not sequence.is_missing(now + 3 * signal_order.REORDER_S)


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bot of ES and NQ without a market; nothing connects."""
    monkeypatch.setenv("SIGNAL_CLOUD_KEY", "no-key")
    made = bot.Bot(bot.parse_options(["--symbols", "ES", "NQ"]), connection.Journal(as_json=True))
    made._sequences = {"ES": signal_order.Sequence(acted=4), "NQ": signal_order.Sequence(acted=9)}
    yield made
    made._reporter.flush()


def test_one_heartbeat_reveals_what_nobody_pushed_of_any_symbol(watching: Any) -> None:
    beat = {"type": "heartbeat", "version": 2, "event_at": START.isoformat()}
    watching._take(beat | {"sequences": {"CL": 70, "ES": 6, "NQ": 9}})
    now = time.monotonic()
    assert not any(each.is_missing(now) for each in watching._sequences.values())
    later = now + 2 * signal_order.REORDER_S
    missing = [symbol for symbol, each in watching._sequences.items() if each.is_missing(later)]
    assert missing == ["ES"], "NQ has all, and CL is not this bot's"
    watching._take(beat | {"sequences": {"ES": 5}})  # one that arrives late
    assert watching._sequences["ES"].known == 6


def test_a_heartbeat_sets_the_market_s_clock(watching: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, flat(100))
    watching._broker = desk.broker
    event_at = (START + timedelta(minutes=5)).isoformat()
    watching._take({"type": "heartbeat", "event_at": event_at, "sequences": {"NQ": 9}})
    assert desk.market.closed() == 5
