"""Alerts of publishers' platforms: what they mean, and what is said about those that mean nothing."""

import json
import string
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.alert_mappings import shipped_address_lists, shipped_mappings
from shared.domain.market.alert_mapping import AlertMapping, folded
from shared.domain.market.alert_text import read_alert
from shared.domain.market.alerts import Alert, Step, alert_of
from shared.domain.numbers import plain
from shared.errors import InvalidInput, MalformedJson, SignalCloudError, ValidationFailed

TRADINGVIEW = shipped_mappings()["tradingview"]
PLAIN = shipped_mappings()["plain"]
LONG, SHORT = Step("entry", "LONG"), Step("entry", "SHORT")
OUT_OF_LONG, OUT_OF_SHORT, OUT = Step("exit", "LONG"), Step("exit", "SHORT"), Step("exit", None)
AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def read(body: Any, mapping: AlertMapping = TRADINGVIEW) -> Alert:
    text = body if isinstance(body, str) else json.dumps(body)
    return alert_of(read_alert(text.encode(), mapping), mapping)


def refused(body: Any, mapping: AlertMapping = TRADINGVIEW) -> dict[str, str]:
    """What is wrong, by the sender's names."""
    with pytest.raises(ValidationFailed) as caught:
        read(body, mapping)
    return {error.field: error.message for error in caught.value.errors}


def alert(**values: Any) -> dict[str, Any]:
    return {"ticker": "ES1!", "price": "6543.25", "action": "buy"} | values


@pytest.mark.parametrize(
    ("word", "step"),
    [
        ("buy", LONG),
        ("BUY", LONG),
        ("Enter Long", LONG),
        ("sell", SHORT),
        ("short", SHORT),
        ("flat", OUT),
        ("exit", OUT),
        ("close", OUT),
        ("close-long", OUT_OF_LONG),
        ("exit_short", OUT_OF_SHORT),
        ("cover", OUT_OF_SHORT),
    ],
)
def test_words_mean_what_the_mapping_says_in_any_case(word: str, step: Step) -> None:
    assert read(alert(action=word)).steps == (step,)
    assert read(f"{word} ES1! 6543.25").steps == (step,)


@pytest.mark.parametrize(
    ("action", "position", "previous", "steps"),
    [
        ("buy", "long", "flat", (LONG,)),
        ("sell", "short", "flat", (SHORT,)),
        ("sell", "flat", "long", (OUT_OF_LONG,)),
        ("buy", "flat", "short", (OUT_OF_SHORT,)),
        ("sell", "short", "long", (OUT_OF_LONG, SHORT)),
        ("buy", "long", "short", (OUT_OF_SHORT, LONG)),
        ("buy", "long", "long", (LONG,)),  # the position grew
        (None, "long", "long", (LONG,)),
        (None, "short", None, (SHORT,)),
        (None, "flat", None, (OUT,)),
    ],
)
def test_positions_decide_if_they_are_there(
    action: str | None, position: str, previous: str | None, steps: tuple[Step, ...]
) -> None:
    sent = {"action": action, "market_position": position, "prev_market_position": previous}
    body = {"ticker": "ES1!", "price": 1} | {name: value for name, value in sent.items() if value}
    assert read(body).steps == steps


def test_a_part_of_a_position_and_no_change_are_no_signal() -> None:
    for previous in ("long", None):
        body = alert(action="sell", market_position="long", prev_market_position=previous)
        assert "only became smaller" in refused(body)["market_position"]
    body = alert(market_position="flat", prev_market_position="flat")
    assert "nothing to do" in refused(body)["market_position"]
    found = refused(alert(market_position="exit long"))["market_position"]
    assert found.startswith("Expected a word such as buy, long"), "no position is exit long"


@pytest.mark.parametrize(
    ("written", "symbol"),
    [
        ("ES1!", "ES"),
        ("CME_MINI:ES1!", "ES"),
        ("CME_MINI_DL:NQ1!", "NQ"),
        ("NYMEX:CL1!", "CL"),
        ("esz2025", "ES"),
        ("ESZ5", "ES"),
        ("/ES", "ES"),
        ("ES=F", "ES"),
        (" ES ", "ES"),
        ("NYSE:CLF", "CLF"),  # a share, and no contract of crude oil
        ("BTCUSD", "BTCUSD"),
    ],
)
def test_a_symbol_is_ours_if_it_surely_is_the_leading_contract(written: str, symbol: str) -> None:
    assert read(alert(ticker=written)).symbol == symbol


@pytest.mark.parametrize(
    "written", ["ES2!", "MES1!", "MESZ5", "ES 12-25", "S&P", "", "x" * 99, 7, None, ["ES"]]
)
def test_other_symbols_are_refused_with_a_hint(written: Any) -> None:
    message = refused(alert(ticker=written))["ticker"]
    assert "mapping" in message or "Expected a symbol" in message


def test_a_mapping_names_symbols_of_its_own() -> None:
    mapping = msgspec.structs.replace(PLAIN, symbols={"MES1!": "ES", "US500": "ES"}, by_root=False)
    body = {"action": "buy", "price": 1}
    assert read(body | {"symbol": "CME:MES1!"}, mapping).symbol == "ES"
    assert read(body | {"symbol": "us500"}, mapping).symbol == "ES"
    assert "symbol" in refused(body | {"symbol": "ES1!"}, mapping)


@given(
    price=st.decimals("0.01", "99999", places=2),
    form=st.sampled_from(["{}", " {} ", "+{}", "{}0"]),
    quoted=st.booleans(),
)
def test_a_number_is_its_value_however_it_is_written(price: Decimal, form: str, quoted: bool) -> None:
    mapping = msgspec.structs.replace(TRADINGVIEW, round_to_tick=False)
    written: Any = form.format(price) if quoted else float(price)
    assert read(alert(price=written), mapping).price == price
    assert read(f"buy ES {price}", mapping).price == price


@pytest.mark.parametrize(
    "written", ["5,012.25", "5.012,25", "5 012.25", "5'012", "1,234,567", "5012,25", "12,5"]
)
def test_a_number_that_can_be_read_in_two_ways_is_refused(written: str) -> None:
    assert "no thousands separators" in refused(alert(price=written))["price"]


@pytest.mark.parametrize(
    "written", ["NaN", "na", "", "null", "12.5.1", "$12", "1e", "0x10", True, [1], {}, "9" * 60]
)
def test_what_is_no_number_is_refused(written: Any) -> None:
    assert refused(alert(price=written)).keys() == {"price"}


def test_bare_nan_is_named_though_json_has_it_not() -> None:
    assert "NaN" in refused('{"ticker": "ES1!", "action": "buy", "price": NaN}')["price"]


def test_prices_are_rounded_to_the_tick_if_the_mapping_says_so() -> None:
    found = read(alert(price=6543.31, stop="6540.1", target="6550"))
    assert [plain(each) for each in (found.price, found.stop_price, found.target_price) if each] == [
        "6543.25",
        "6540",
        "6550",
    ]
    body = {"action": "buy", "symbol": "ES", "price": "6543.31"}
    assert read(body, PLAIN).price == Decimal("6543.31"), "its own checks name the nearest price"


def test_an_exit_needs_no_stop_and_is_not_refused_for_one() -> None:
    found = read(alert(action="flat", stop="NaN", target="{{plot_1}}"))
    assert (found.stop_price, found.target_price) == (None, None)
    assert refused(alert(stop="NaN")).keys() == {"stop"}


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-02T14:30:00Z",
        "2026-03-02T15:30:00+01:00",
        "2026-03-02 14:30:00Z",
        "1772461800",
        1772461800,
        1772461800.0,
        1772461800000,
        "1772461800000",
    ],
)
def test_times_are_iso_or_counted_since_1970(written: Any) -> None:
    assert read(alert(timenow=written)).event_at == AT


@pytest.mark.parametrize(
    "written", ["2026-03-02T14:30:00", "20260302", 17, 1e18, "soon", True, "0001-01-01T00:00+23:59"]
)
def test_times_that_could_mean_several_moments_are_refused(written: Any) -> None:
    assert refused(alert(timenow=written)).keys() == {"timenow"}


def test_placeholders_that_were_not_filled_are_named() -> None:
    body = alert(
        action="{{strategy.order.action}}", price="{{close}}", sl="{{plot_0}}", interval="{{interval}}"
    )
    found = refused(body)
    assert found.keys() == {"action", "price", "sl"}, "what is ignored may be anything"
    assert "Only alerts of a strategy" in found["action"]
    assert '"{{close}}"' in found["price"]
    broken = '{"ticker": "{{ticker}}", "price": {{close}}, "action": "buy"}'
    assert refused(broken).keys() == {"ticker", "price"}, "without quotes it is no JSON"
    assert refused("{{ strategy.order.action }} {{ticker}} {{close}}").keys() == {"action", "symbol", "price"}


def test_blanks_before_a_placeholder_cost_no_time() -> None:
    """A few bytes must not keep the process busy for minutes."""
    began = time.process_time()
    for body in ('{"a":' + " " * 8_000 + "{{x" + " " * 8_000, "buy " + "{{x" + " " * 16_000):
        with pytest.raises(InvalidInput):
            read(body)
    assert time.process_time() - began < 1


def test_a_line_has_its_words_in_order_and_pairs_in_any() -> None:
    expected = read(alert(action="buy", stop="6540", target="6550"))
    for line in (
        "buy ES1! 6543.25 stop=6540 target=6550",
        "target=6550 buy ES1! @ 6543.25, stop: 6540",
        "BUY CME_MINI:ES1! at 6543.25; sl=6540; tp = 6550",
        "action=buy\nsymbol=ES1!\nprice=6543.25\nstop_loss=6540\ntake-profit=6550",
        '"buy ES1! 6543.25 stop=6540 target=6550"',
    ):
        found = read(line)
        assert msgspec.structs.replace(found, names={}) == msgspec.structs.replace(expected, names={}), line


def test_words_that_a_line_has_too_many_are_named() -> None:
    assert '"now"' in refused("buy ES1! 6543.25 now")["text"]
    assert refused("buy ES1!").keys() == {"price"}


def test_a_misspelled_name_is_named_or_listed_as_the_mapping_says() -> None:
    assert read(alert(stpo="6540")).ignored == ("stpo",)
    assert (
        "did you mean 'stop'"
        in refused({"action": "buy", "symbol": "ES", "price": 1, "stpo": 1}, PLAIN)["stpo"]
    )


def test_names_that_mean_the_same_stand_once() -> None:
    assert refused('{"Price": 1, "price": 2, "ticker": "ES", "action": "buy"}').keys() == {"price"}
    assert read(alert(close=1, price=2)).price == Decimal(2), "the first of the mapping's names counts"
    with pytest.raises(MalformedJson):
        read('{"price": 1, "price": 2, "ticker": "ES", "action": "buy"}')


def test_nested_names_are_joined_by_dots() -> None:
    body = {"ticker": "ES1!", "strategy": {"order": {"action": "sell", "price": 1}, "id": {}}}
    found = read(body)
    assert (found.steps, found.price) == ((SHORT,), Decimal(1))
    assert found.names["price"] == "strategy.order.price"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"[]",
        b'[{"action": "buy"}]',
        b"{",
        b"\xff\xfe",
        b"{" * 16_000,
        b"[" * 16_000,
        b'{"a":' * 8_000,
        json.dumps({str(n): n for n in range(200)}).encode(),
        b"x " * 8_000,
        b'{"price": 1' + b"0" * 5_000 + b"}",
    ],
)
def test_what_is_no_alert_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        alert_of(read_alert(body, TRADINGVIEW), TRADINGVIEW)


NAMES = st.sampled_from([name for names in TRADINGVIEW.fields.values() for name in names] + ["x", "{{a}}"])
WORDS = st.one_of(
    st.sampled_from(
        [*TRADINGVIEW.words, "ES1!", "6543.25", "{{close}}", "NaN", "1772461800", "CL1!", "-37.63"]
    ),
    st.text(max_size=12),
    st.text(string.digits + ".,-+eE' ", max_size=12),
)
VALUES = st.recursive(
    st.one_of(WORDS, st.none(), st.booleans(), st.integers(), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
BODIES = st.one_of(
    st.binary(max_size=80),
    st.lists(WORDS, max_size=6).map(lambda words: " ".join(words).encode(errors="replace")),
    st.dictionaries(NAMES, VALUES, max_size=8).map(lambda found: json.dumps(found).encode()),
)


@given(body=BODIES, mapping=st.sampled_from([TRADINGVIEW, PLAIN]))
def test_no_alert_is_a_fault_of_ours(body: bytes, mapping: AlertMapping) -> None:
    """Each is read or refused with a reason that can be sent, and what is read is complete."""
    try:
        found = alert_of(read_alert(body, mapping), mapping)
    except SignalCloudError as error:
        assert isinstance(error, InvalidInput)
        msgspec.json.encode(error.errors)
    else:
        assert found.steps
        assert found.price.is_finite()
        assert found.event_at is None or found.event_at.tzinfo is UTC


def test_shipped_mappings_and_lists_are_sound() -> None:
    assert set(shipped_mappings()) == {"plain", "tradingview"}
    assert len(shipped_address_lists()["tradingview"]) == 4
    assert [mapping.faults() for mapping in shipped_mappings().values()] == [[], []]


def test_a_mapping_that_is_ambiguous_says_where() -> None:
    mapping = AlertMapping(
        fields={"price": ["p", "P "], "symbol": ["p"]},
        words={"go": "long", "GO": "short", "a b c d": "flat"},
        text=["price", "price"],
    )
    assert [field for field, _ in mapping.faults()] == [
        "fields.action",
        "fields.symbol",
        "words",
        "words",
        "text",
    ]


def test_names_are_compared_without_case_and_joints() -> None:
    assert {folded(name) for name in ("Stop Loss", "stop_loss", "STOP-LOSS", " stop__loss ")} == {"stop_loss"}
