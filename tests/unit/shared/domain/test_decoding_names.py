"""A name stands once in its object; a body that gives one twice is refused and the name is said."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.bars import read_bars
from functions.trades import read_trades
from shared.domain.access.hub_events import ConnectRequest
from shared.domain.decoding import decode
from shared.domain.json_text import refuse_repeated_names
from shared.domain.market.signals import SignalRequest
from shared.domain.trading.trades import Trade
from shared.errors import MalformedJson
from shared.services.bars import BarsRequest
from shared.services.sessions import NegotiateRequest
from tests.support.requests import BAR, SIGNAL, TRADE

ALL_OF_A_TRADE: dict[str, Any] = TRADE | {
    "quantity": 1,
    "fees": "0",
    "strategy": "vwap_bounce",
    "signal_sequence": 3,
    "confidence": None,
    "model_version": None,
    "features": {"rsi": 35.0, "vwap_distance": 2.1},
}
ALL_OF_A_SIGNAL: dict[str, Any] = SIGNAL | {
    "kind": "entry",
    "strategy": "manual",
    "strategy_version": 1,
    "stop_price": None,
    "features": {},
    "expires_at": "2026-03-02T14:31:00Z",
}

type Pairs = list[tuple[str, Any]]


def written(pairs: Pairs, escape: bool, blanks: str) -> str:
    """The pairs as an object, whose second name of each repeated pair is escaped if `escape` is true."""
    seen: set[str] = set()
    parts = []
    for name, value in pairs:
        text = json.dumps(name)
        if escape and name in seen:
            text = f'"\\u{ord(name[0]):04x}{name[1:]}"'
        seen.add(name)
        parts.append(f"{text}{blanks}:{blanks}{json.dumps(value)}")
    return "{" + ",".join(parts) + "}"


@st.composite
def objects(draw: st.DrawFn, every: dict[str, Any], required: set[str]) -> tuple[Pairs, str | None]:
    """Pairs of an object that is accepted, and the name that stands twice in them, if one does."""
    chosen = [(name, every[name]) for name in every if name in required or draw(st.booleans())]
    pairs: Pairs = draw(st.permutations(chosen))
    repeated = draw(st.none() | st.sampled_from([name for name, _ in pairs]))
    if repeated is not None:
        pairs.insert(draw(st.integers(0, len(pairs))), (repeated, every[repeated]))
    return pairs, repeated


def refused(body: str, read: Any) -> str:
    with pytest.raises(MalformedJson) as caught:
        read(body.encode())
    ((field, code),) = [(error.field, error.code) for error in caught.value.errors]
    assert code == "repeated_field"
    assert f"gives {field} more than once" in caught.value.detail
    return field


spelling = st.tuples(st.booleans(), st.sampled_from(["", " ", "\n\t"]))


@given(objects(ALL_OF_A_TRADE, set(TRADE)), spelling, st.integers(0, 3))
@example(([*TRADE.items(), ("confidence", None), ("confidence", None)], "confidence"), (False, ""), 1)
@example(([*TRADE.items(), ("fees", "0"), ("fees", "0")], "fees"), (True, " "), 0)
def test_a_trade_gives_each_name_once(
    made: tuple[Pairs, str | None], spelling: tuple[bool, str], others: int
) -> None:
    pairs, repeated = made
    text = written(pairs, *spelling)
    good = written(list(ALL_OF_A_TRADE.items()), False, "")
    for body in (text, f'{{"trades":[{",".join([good] * others + [text, good])}]}}'):
        place = "trades[0]" if body is text else f"trades[{others}]"
        if repeated is None:
            assert not read_trades(body.encode()).refused
        else:
            assert refused(body, read_trades) == f"{place}.{repeated}"


@given(objects(BAR, set(BAR)), spelling, st.sampled_from(["", '"source":"live",', '"source":"replay",']))
def test_a_bar_gives_each_name_once(
    made: tuple[Pairs, str | None], spelling: tuple[bool, str], source: str
) -> None:
    pairs, repeated = made
    good = json.dumps(BAR)
    body = f'{{"symbol":"ES",{source}"bars":[{good},{written(pairs, *spelling)}]}}'
    if repeated is None:
        assert len(decode(body.encode(), BarsRequest).bars) == 2
        assert not read_bars(body.encode()).bars.refused
    else:
        assert refused(body, lambda raw: decode(raw, BarsRequest)) == f"bars[1].{repeated}"
        assert refused(body, read_bars) == f"bars[1].{repeated}"
        # A bad bar beside it lets no name be given twice.
        assert refused(body.replace(good, '{"open": 1}', 1), read_bars) == f"bars[1].{repeated}"


@given(objects(ALL_OF_A_SIGNAL, set(SIGNAL)), spelling)
def test_a_signal_gives_each_name_once(made: tuple[Pairs, str | None], spelling: tuple[bool, str]) -> None:
    pairs, repeated = made
    body = written(pairs, *spelling)
    if repeated is None:
        assert decode(body.encode(), SignalRequest).symbol == "ES"
    else:
        assert refused(body, lambda raw: decode(raw, SignalRequest)) == repeated


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (BarsRequest, f'{{"symbol":"ES","bars":[],"bars":[{json.dumps(BAR)}]}}', "bars"),
        (BarsRequest, f'{{"symbol":"ES","bars":[{json.dumps(BAR)}],"\\u0073ymbol":"ES"}}', "symbol"),
        (SignalRequest, json.dumps(SIGNAL)[:-1] + ',"features":{"a":1,"\\u0061":2}}', "features.a"),
        (SignalRequest, json.dumps(SIGNAL)[:-1] + ',"features":{"a.b":1,"a.b":2}}', "features.a.b"),
        (NegotiateRequest, '{"symbols":["ES"],"symbols":null}', "symbols"),
        (NegotiateRequest, '{"symbols":null,"symbols":null}', "symbols"),
        (ConnectRequest, '{"claims":{},"claims":{"webpubsub.group":["a"]}}', "claims"),
        (ConnectRequest, '{"claims":{"a":[],"a":[]},"query":{"x":[{"y":1}]}}', "claims.a"),
        (ConnectRequest, '{"claims":{},"query":{"x":[{"y":1,"y":2}]}}', "query.x[0].y"),
    ],
)
def test_every_object_of_every_body_gives_a_name_once(kind: Any, body: str, field: str) -> None:
    assert refused(body, lambda raw: decode(raw, kind)) == field


def test_a_name_that_looks_like_one_in_a_string_is_no_name() -> None:
    trade = ALL_OF_A_TRADE | {"model_version": 'a": "b", "pnl": 1 , "pnl" : {'}
    (found,) = read_trades(json.dumps({"trades": [trade]}).encode()).decoded
    assert found is not None
    assert found.model_version == trade["model_version"]


class Made(msgspec.Struct):
    """Fields whose values may have been sent, or made, and nobody sees which."""

    a: int | None = None
    inner: "Inner" = msgspec.field(default_factory=lambda: Inner(1, 2))
    numbers: list[int] = []
    named: dict[str, int] = {}


class Inner(msgspec.Struct):
    x: int = 1
    y: int | None = None


class Fixed(msgspec.Struct, frozen=True):
    z: int | None = None


FIXED = Fixed(3)


class WithFixed(msgspec.Struct):
    """A field whose value is a struct if it is absent."""

    a: int | None = None
    fixed: Fixed = FIXED


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"a":1,"a":1}', "a"),
        ('{"inner":{"x":1,"x":1}}', "inner.x"),
        ('{"inner":{},"inner":{}}', "inner"),
        ('{"numbers":[],"numbers":[]}', "numbers"),
        ('{"named":{"z":1,"z":1}}', "named.z"),
        ('{"named":{},"named":{}}', "named"),
    ],
)
def test_what_may_have_been_made_hides_no_name(body: str, field: str) -> None:
    assert refused(body, lambda raw: decode(raw, Made)) == field
    assert decode(b'{"a":null,"numbers":[],"inner":{"y":2}}', Made).inner == Inner(1, 2)
    assert refused('{"a":1,"a":1}', lambda raw: decode(raw, WithFixed)) == "a"
    assert refused('{"fixed":{"z":1,"z":1}}', lambda raw: decode(raw, WithFixed)) == "fixed.z"


def test_the_same_name_may_stand_in_two_objects() -> None:
    refuse_repeated_names(b'{"a": {"a": [{"a": 1}, {"a": 2}]}, "b": {"a": 1}}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(st.text(st.sampled_from('ab"\\:\u00e9'), max_size=2), inner), max_size=4).map(
            tuple
        )
    ),
    max_leaves=15,
)


def text_of(value: Any) -> tuple[str, bool]:
    """`value` as JSON, a tuple of pairs as an object; and whether an object gives a name twice."""
    if isinstance(value, tuple):
        inner = [(name, *text_of(each)) for name, each in value]
        names = [name for name, *_ in inner]
        repeats = len(set(names)) < len(names) or any(each for *_, each in inner)
        return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text, _ in inner) + "}", repeats
    if isinstance(value, list):
        items = [text_of(each) for each in value]
        return "[" + ",".join(text for text, _ in items) + "]", any(each for _, each in items)
    return json.dumps(value), False


@given(json_values)
def test_repeated_names_are_found_at_every_depth(value: Any) -> None:
    text, repeats = text_of(value)
    if repeats:
        refused(text, refuse_repeated_names)
    else:
        refuse_repeated_names(text.encode())


def test_the_check_of_a_single_trade_names_its_place() -> None:
    body = json.dumps(TRADE)[:-1] + ',"pnl":"1"}'
    assert refused(body, lambda raw: decode(raw, Trade, within="trades[0]")) == "trades[0].pnl"
