"""Every route reads bodies by the same rules: codings, encodings, names, numbers; and says what is wrong."""

import gzip
import json
import re
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.trades import read_trades
from functions.web.routes import declared_routes
from shared.domain.access.hub_events import ConnectRequest
from shared.domain.access.keys import new_key
from shared.domain.decoding import decode
from shared.domain.market.signals import SignalRequest
from shared.errors import InvalidInput
from shared.services.bars import BarsRequest
from shared.services.sessions import NegotiateRequest, SessionRequest
from tests.support.api import Answered, Api
from tests.support.requests import ADMITTING, BAR, DESTINATION, REPLAY, SIGNAL, STATE, TRADE
from tests.support.strategies import STATES

# For each route: a body that it accepts, a name that stands in it, and the path of that name in an error.
BODIES: dict[str, tuple[Any, str, str]] = {
    "ml/get_confidence": (STATE, "rsi", "rsi"),
    "ml/get_confidence/batch": ({"states": [STATE, STATE]}, "rsi", "states[0].rsi"),
    "trades": ({"trades": [TRADE]}, "pnl", "trades[0].pnl"),
    "signals": (SIGNAL, "price", "price"),
    "bars": ({"symbol": "ES", "bars": [BAR]}, "close", "bars[0].close"),
    "hooks": ({"name": "chart", "strategy": "s"}, "strategy", "strategy"),
    "hooks/{hook_id}/rotate": ({"overlap_s": 60}, "overlap_s", "overlap_s"),
    "ws/negotiate": ({"symbols": ["ES"]}, "symbols", "symbols"),
    "destinations": (DESTINATION, "url", "url"),
    "destinations/{destination_id}/replay": (REPLAY, "since", "since"),
    "sessions": ({"instance": "bot-1", "symbols": ["ES"]}, "symbols", "symbols"),
}
SUCCESSES = {"signals": 201, "hooks": 201, "destinations": 201, "destinations/{destination_id}/replay": 202}
SINGLE_TRADE = (TRADE, "pnl", "trades[0].pnl")
EACH = [*BODIES.items(), ("trades", SINGLE_TRADE)]
ROUTES = pytest.mark.parametrize(("path", "body"), EACH, ids=[*BODIES, "a single trade"])


pytestmark = pytest.mark.usefixtures("hooked", "reported")


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


async def send(api: Api, path: str, content: bytes, key: Any = None, **headers: str) -> Answered:
    scope, _ = ADMITTING["POST", path]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.call("POST", path, key=key or await api.key(scope), content=content, headers=named)


def text_of(body: tuple[Any, str, str]) -> bytes:
    return json.dumps(body[0]).encode()


def stored(api: Api) -> tuple[Any, ...]:
    return (api.stores.trades.recorded, api.stores.signals.drafts, api.hub.sent, api.hub.memberships)


def test_every_route_with_a_body_is_here() -> None:
    # Operators' bodies are small structs, which the same decoder reads.
    with_body = {
        route.path
        for route in declared_routes()
        if route.body is not None and not route.path.startswith(("ops/", "webhooks/"))
    }
    # Only Web PubSub sends there, with a proof; tests/unit/shared/domain/test_decoding_names.py has its body.
    # tests/unit/functions/test_own_keys.py and test_claims.py have those of two more, which take no numbers.
    # Vendors' events are checked by their signature; see tests/unit/functions/test_webhooks.py. Alerts may be
    # text, and names of theirs are the sender's; see tests/unit/functions/test_hooks.py.
    elsewhere = {
        "ws/events",
        "license/rotate",
        "claims",
        "hooks/{secret}",
    }
    assert with_body == {*BODIES, *elsewhere}


@ROUTES
@pytest.mark.parametrize(
    ("headers", "packed"),
    [
        ({"content_encoding": "gzip"}, gzip.compress),
        ({"content_encoding": "X-GZIP"}, gzip.compress),
        ({"content_encoding": "deflate"}, zlib.compress),
        ({"content_encoding": "deflate"}, raw_deflate),
        ({"content_encoding": "identity"}, bytes),
        ({"content_type": "application/json; charset=UTF-8"}, bytes),
        ({}, lambda text: b"\xef\xbb\xbf" + text),
        ({"content_encoding": "gzip"}, lambda text: gzip.compress(b"\xef\xbb\xbf" + text)),
    ],
)
async def test_what_the_world_sends_is_read(
    api: Api, path: str, body: Any, headers: dict[str, str], packed: Callable[[bytes], bytes]
) -> None:
    answered = await send(api, path, packed(text_of(body)), **headers)
    assert answered.status == SUCCESSES.get(path, 200)


def unreadable(status: int, said: str, packed: Callable[[bytes], bytes], **headers: str) -> Any:
    return pytest.param(status, said, packed, headers, id=f"{headers or ''} {said}")


@ROUTES
@pytest.mark.parametrize(
    ("status", "said", "packed", "headers"),
    [
        unreadable(415, "gzip, deflate", bytes, content_encoding="br"),
        unreadable(415, "gzip, deflate", gzip.compress, content_encoding="gzip, gzip"),
        unreadable(400, "is not gzip", bytes, content_encoding="gzip"),
        unreadable(400, "too early", lambda text: gzip.compress(text)[:-9], content_encoding="gzip"),
        unreadable(400, "not UTF-8", gzip.compress),
        unreadable(415, "in UTF-8", lambda text: text.decode().encode("utf-16")),
        unreadable(415, "in UTF-8", lambda text: text.decode().encode("utf-16-le")),
        unreadable(415, "in UTF-8", lambda text: text.decode().encode("utf-32-be")),
        unreadable(415, "in UTF-8", bytes, content_type="application/json; charset=latin-1"),
        unreadable(400, "found a NUL byte at byte", lambda text: text + b"\0"),
        unreadable(400, "found the end of the body", lambda text: text[:-1]),
        unreadable(400, "something after the comma", lambda text: text[:-1] + b",}"),
    ],
)
async def test_what_cannot_be_read_is_told_what_to_send(  # noqa: PLR0917 - a row of the table each
    api: Api,
    path: str,
    body: Any,
    status: int,
    said: str,
    packed: Callable[[bytes], bytes],
    headers: dict[str, str],
) -> None:
    before = stored(api)
    answered = await send(api, path, packed(text_of(body)), **headers)
    assert (answered.status, answered.code) == (
        status,
        "malformed_json" if status == 400 else "unsupported_media_type",
    )
    assert said in answered.json["detail"]
    expected = "gzip, deflate" if said == "gzip, deflate" else None
    assert answered.headers.get("accept-encoding") == expected
    assert stored(api) == before


@ROUTES
async def test_a_packed_body_is_bounded_as_it_is_unpacked(api: Api, path: str, body: Any) -> None:
    bomb = gzip.compress(text_of(body) + b" " * 2 * 1024 * 1024)
    answered = await send(api, path, bomb, content_encoding="gzip")
    assert (answered.status, answered.code) == (413, "body_too_large")
    assert "bytes when unpacked" in answered.json["detail"]


@ROUTES
async def test_a_key_is_judged_before_its_body_is_unpacked(api: Api, path: str, body: Any) -> None:
    answered = await send(api, path, b"no gzip", new_key("Zz99Zz"), content_encoding="gzip")
    assert (answered.status, answered.code) == (401, "key_unknown")


@ROUTES
@pytest.mark.parametrize("escaped", [False, True])
async def test_a_name_given_twice_is_named_and_nothing_is_stored(
    api: Api, path: str, body: Any, escaped: bool
) -> None:
    _, name, field = body
    before = stored(api)
    again = f'"\\u{ord(name[0]):04x}{name[1:]}"' if escaped else f'"{name}"'
    text = text_of(body).decode().replace(f'"{name}":', f'{again}: null, "{name}":', 1)
    answered = await send(api, path, text.encode())
    assert (answered.status, answered.code, answered.fields) == (400, "malformed_json", [field])
    assert answered.json["errors"][0]["code"] == "repeated_field"
    assert field in answered.json["detail"]
    assert stored(api) == before


@ROUTES
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
async def test_a_number_that_json_has_not_is_named(api: Api, path: str, body: Any, number: str) -> None:
    _, name, field = body
    before = stored(api)
    text = re.sub(rf'"{name}": [^,}}]*', f'"{name}": {number}', text_of(body).decode(), count=1)
    answered = await send(api, path, text.encode())
    assert (answered.status, answered.code, answered.fields) == (422, "validation_failed", [field])
    is_of_no_number = name in ("symbols", "url", "since") or path == "hooks"
    expected = "wrong_type" if is_of_no_number and number == "1e400" else "out_of_range"
    assert answered.json["errors"][0]["code"] == expected
    assert stored(api) == before


READERS: list[Callable[[bytes], object]] = [
    STATES.read,
    STATES.read_batch,
    read_trades,
    lambda body: decode(body, BarsRequest),
    lambda body: decode(body, SignalRequest),
    lambda body: decode(body, NegotiateRequest),
    lambda body: decode(body, SessionRequest),
    lambda body: decode(body, ConnectRequest),
]
NAMES = sorted({*STATE, *TRADE, *BAR, *SIGNAL, "features", "trades", "bars", "states", "symbols", "claims"})
# What Python calls its types and values; "number" and "integer" are words of JSON Schema.
PYTHON = re.compile(
    r"\b(?:None|True|False|nan|inf|str|int|float|bool|dict|list|tuple|bytes|Decimal|datetime)\b|<|'"
)

numbers = st.sampled_from(["NaN", "-Infinity", "1e400", "0.5", "7", "-1", "10.0"])
json_texts = st.recursive(
    st.sampled_from(["null", "true", "false", '"x"', '"2026-03-02T14:29:00"', '""']) | numbers,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6).map(
            lambda each: "{" + ",".join(f'"{name}":{text}' for name, text in each.items()) + "}"
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("read", READERS)
@given(json_texts)
def test_no_message_speaks_python(read: Callable[[bytes], object], text: str) -> None:
    try:
        read(text.encode())
    except InvalidInput as refused:
        for said in (refused.detail, *(error.message for error in refused.errors)):
            # What the caller sent is shown as JSON, and a suggested name stands in quotation marks.
            ours = re.sub(r"(?:got|found) .*|did you mean '\w+'", "", said)
            assert not PYTHON.search(ours), said
            shown = re.search(r"got (.*)", said)
            assert shown is None or not re.match(
                r"(?:None|True|False|nan|inf|-inf|b?'|Decimal|\()", shown[1]
            ), said


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["open", "high", "low", "close", "volume"])
async def test_a_bar_with_a_number_that_is_none_says_so(api: Api, field: str, number: str) -> None:
    bar = json.dumps(BAR | {field: "here"}).replace('"here"', number)
    answered = await send(api, "bars", f'{{"symbol":"ES","bars":[{bar}]}}'.encode())
    (error,) = answered.json["errors"]
    assert (error["field"], error["code"]) == (f"bars[0].{field}", "out_of_range")
    assert error["message"] == "Expected a finite number, got NaN or Infinity."


async def test_a_text_feature_that_is_too_long_is_told_its_limit(api: Api) -> None:
    body = SIGNAL | {"features": {"a": "x" * 65, "b": "x" * 64}}
    answered = await send(api, "signals", json.dumps(body).encode())
    (error,) = answered.json["errors"]
    assert (error["field"], error["code"]) == ("features.a", "out_of_range")
    assert error["message"] == "Expected at most 64 characters, got 65."


@ROUTES
async def test_a_packed_body_without_its_header_is_told_the_header(
    api: Api, path: str, body: tuple[Any, str, str]
) -> None:
    answered = await send(api, path, gzip.compress(text_of(body)))
    assert (answered.status, answered.code) == (400, "malformed_json")
    assert "add the header Content-Encoding: gzip" in answered.json["detail"]
