"""Each route's limit fits the largest good body, and no bad body costs more than a good one of that size."""

import gc
import itertools
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from functions.bars import read_bars
from functions.trades import read_trades
from functions.web import body_limits
from functions.web.routes import declared_routes
from infra.components import app_settings
from local.host.configuration import HostError, read_body_limit
from local.stack.options import read_stack_options
from local.stack.stack import stack_settings
from shared.domain.access.plans import MAX_SYMBOLS
from shared.domain.confidence.state_checks import MAX_FIELDS
from shared.domain.json_text import MAX_PARTS
from shared.errors import InvalidInput
from shared.settings_reader import SettingsReader
from tests.support.places import ROOT
from tests.support.requests import BAR, SIGNAL, STATE, TRADE
from tests.support.strategies import STATES, STRATEGIES

FEATURES = {f"a_feature_{number:02}": -123456.789 for number in range(32)}
FULL_TRADE = TRADE | {"features": FEATURES, "model_version": "vwap_bounce-20260302T143000-abcdef"}
OPEN = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
FULL_BARS = [
    BAR
    | {"open_time": f"{OPEN + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}", "volume": 123_456}
    | dict.fromkeys(("open", "high", "low", "close"), "123456.75")
    for minute in range(5_000)
]
STATE_WITH_MORE = STATE | {name: value for name, value in FEATURES.items() if name < "a_feature_20"}
SIGNAL_FEATURES = {f"{'x' * 60}_{number:03}": -123456.789 for number in range(32)}
TRADES = msgspec.json.encode({"trades": [FULL_TRADE] * 500})
BARS = msgspec.json.encode({"symbol": "ES", "bars": FULL_BARS})
GOOD = [
    (body_limits.CONFIDENCE, msgspec.json.encode(STATE_WITH_MORE)),
    (body_limits.CONFIDENCE_BATCH, msgspec.json.encode({"states": [STATE_WITH_MORE] * 100})),
    (body_limits.TRADES, TRADES),
    (body_limits.BARS, BARS),
    (body_limits.SIGNAL, msgspec.json.encode(SIGNAL | {"features": SIGNAL_FEATURES})),
    (body_limits.NEGOTIATE, msgspec.json.encode({"symbols": ["ABCDEFGHIJKL"] * MAX_SYMBOLS})),
]


@pytest.mark.parametrize(("limit", "body"), GOOD)
def test_the_largest_good_body_of_each_route_fits(limit: int, body: bytes) -> None:
    assert len(body) <= limit


def test_the_platform_lets_the_largest_body_of_a_route_pass_and_no_larger_one() -> None:
    largest = max(route.body.max_bytes for route in declared_routes() if route.body is not None)
    assert largest == body_limits.MAX_BODY_BYTES == 1_048_576


def test_the_limit_of_the_platform_is_that_of_the_app_in_azure_and_locally() -> None:
    setting = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
    assert app_settings.REQUEST_BODY_LIMIT == body_limits.MAX_BODY_BYTES
    options = read_stack_options("up", SettingsReader({}))
    assert read_body_limit(stack_settings(options)) == body_limits.MAX_BODY_BYTES
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    assert sample[setting] == str(body_limits.MAX_BODY_BYTES)


def test_without_the_setting_the_host_takes_what_the_platform_takes() -> None:
    assert read_body_limit({}) == 104_857_600
    assert read_body_limit({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "4096"}) == 4_096
    for wrong in ("4 KB", "-1", "\u0664"):
        with pytest.raises(HostError, match="must be a number of bytes"):
            read_body_limit({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": wrong})


def test_what_counts_as_an_excess_is_more_than_any_good_body_has() -> None:
    assert TRADES.count(b",") < MAX_PARTS
    assert BARS.count(b",") < MAX_PARTS
    assert max(len(strategy.features) for strategy in STRATEGIES.values()) + 3 < MAX_FIELDS / 2


def filled(limit: int, begin: str, items: Iterable[str], end: str) -> bytes:
    """A body of just under `limit` bytes: as many of the items as fit between `begin` and `end`."""
    parts, size = [], len(begin) + len(end)
    for item in items:
        size += len(item) + 1
        if size > limit:
            break
        parts.append(item)
    return (begin + ",".join(parts) + end).encode()


def cost_s(read: Callable[[bytes], object], body: bytes) -> float:
    """Processor time; the least of some attempts, because others use the machine too.

    Without the collector of reference cycles, which would look through all that pytest holds.
    """
    best = float("inf")
    gc.disable()
    try:
        for _ in range(7):
            began = time.thread_time()
            with suppress(InvalidInput):
                read(body)
            best = min(best, time.thread_time() - began)
    finally:
        gc.enable()
    return best


def unknown(start: str = "f") -> Iterable[str]:
    return (f'"{start}{number}":1' for number in itertools.count())


ONE_STATE = msgspec.json.encode(STATE).decode()
ONE_TRADE = msgspec.json.encode(TRADE).decode()
NAN_STATE = ONE_STATE.replace("2.1", "NaN")
HOSTILE_STATES = {
    "a NaN": NAN_STATE.encode(),
    "unknown fields": filled(body_limits.CONFIDENCE, ONE_STATE[:-1] + ",", unknown(), "}"),
    "unknown fields and a NaN": filled(body_limits.CONFIDENCE, NAN_STATE[:-1] + ",", unknown(), "}"),
    "nearly known fields": filled(body_limits.CONFIDENCE, NAN_STATE[:-1] + ",", unknown("vwap_distanc"), "}"),
    "as many fields as are looked at": filled(
        body_limits.CONFIDENCE, NAN_STATE[:-1] + ",", itertools.islice(unknown("vwap_"), 90), "}"
    ),
    "depth": b"[" * body_limits.CONFIDENCE,
    "a deep symbol": b'{"symbol":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
    "a long number": b'{"rsi":' + b"1" * 16_000 + b"}",
}
HOSTILE_TRADES = {
    "unknown fields": filled(body_limits.TRADES, ONE_TRADE[:-1] + ",", unknown(), "}"),
    "unknown fields beside trades": filled(body_limits.TRADES, '{"trades":[],', unknown(), "}"),
    "empty trades": filled(body_limits.TRADES, '{"trades":[', itertools.repeat("{}"), "]}"),
    "bad trades": filled(body_limits.TRADES, '{"trades":[', itertools.repeat('{"entry_pric":1}'), "]}"),
    "a long symbol": ONE_TRADE.replace('"ES"', f"[{'1,' * 400_000}1]").encode(),
    "features of a wrong type": filled(
        body_limits.TRADES, ONE_TRADE[:-1] + ',"features":{', (f'"f{n}":[]' for n in itertools.count()), "}}"
    ),
}
HOSTILE_BARS = {
    "empty bars": filled(body_limits.BARS, '{"symbol":"ES","bars":[', itertools.repeat("{}"), "]}"),
    "unknown fields": filled(body_limits.BARS, '{"symbol":"ES","bars":[],', unknown(), "}"),
    "a bad bar after good ones": msgspec.json.encode({"symbol": "ES", "bars": [*FULL_BARS, {}]}),
}


@pytest.mark.parametrize("hostile", HOSTILE_STATES.values(), ids=HOSTILE_STATES)
def test_a_bad_state_costs_a_fraction_of_a_millisecond(hostile: bytes) -> None:
    with pytest.raises(InvalidInput):
        STATES.read(hostile)
    assert cost_s(STATES.read, hostile) < 0.000_5


@pytest.mark.parametrize("hostile", HOSTILE_TRADES.values(), ids=HOSTILE_TRADES)
def test_bad_trades_cost_about_as_much_as_good_ones(hostile: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_trades(hostile)
    assert cost_s(read_trades, hostile) < 3 * cost_s(read_trades, TRADES)


@pytest.mark.parametrize("hostile", HOSTILE_BARS.values(), ids=HOSTILE_BARS)
def test_bad_bars_cost_about_as_much_as_good_ones(hostile: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_bars(hostile)
    assert cost_s(read_bars, hostile) < 3 * cost_s(read_bars, BARS)


# Two to three on an idle machine. To name every bad field of such a body would cost twenty times as much.
ONE_BY_ONE = 5


@pytest.mark.parametrize("bad", [{}, 7, FULL_TRADE | {"colour": 1}, FULL_TRADE | {"side": "UP"}])
def test_bad_trades_that_are_refused_one_by_one_cost_about_as_much_as_good_ones(bad: object) -> None:
    hostile = msgspec.json.encode({"trades": [bad] * 500})
    assert len(read_trades(hostile).refused) == 500
    assert cost_s(read_trades, hostile) < ONE_BY_ONE * cost_s(read_trades, TRADES)


@pytest.mark.parametrize("bad", [{}, 7, FULL_BARS[0] | {"colour": 1}, FULL_BARS[0] | {"volume": -1}])
def test_bad_bars_that_are_refused_one_by_one_cost_about_as_much_as_good_ones(bad: object) -> None:
    for bars in ([bad] * 5_000, [*FULL_BARS[1:], bad]):
        hostile = msgspec.json.encode({"symbol": "ES", "bars": bars})
        assert len(read_bars(hostile).bars.refused) == bars.count(bad)
        assert cost_s(read_bars, hostile) < ONE_BY_ONE * cost_s(read_bars, BARS)


@pytest.mark.parametrize(
    "hostile",
    [
        filled(body_limits.CONFIDENCE_BATCH, '{"states":[', itertools.repeat("{}"), "]}"),
        filled(body_limits.CONFIDENCE_BATCH, '{"states":[', itertools.repeat("NaN"), "]}"),
        filled(body_limits.CONFIDENCE_BATCH, '{"states":[],', unknown(), "}"),
        filled(body_limits.CONFIDENCE_BATCH, '{"states":[', [ONE_STATE[:-1] + ',"f":1}'] * 100, "]}"),
        filled(body_limits.CONFIDENCE_BATCH, '{"states":[', [NAN_STATE] * 100, "]}"),
    ],
)
def test_a_bad_batch_costs_a_few_good_ones_at_most(hostile: bytes) -> None:
    """The largest has twenty times the bytes of a good one of 100 states, and costs less than that."""
    with pytest.raises(InvalidInput):
        STATES.read_batch(hostile)
    good = filled(body_limits.CONFIDENCE_BATCH, '{"states":[', [ONE_STATE] * 100, "]}")
    assert cost_s(STATES.read_batch, hostile) < 20 * cost_s(STATES.read_batch, good)
