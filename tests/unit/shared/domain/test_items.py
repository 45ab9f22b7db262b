"""The good items of a body are accepted, whatever the others are, and each bad one is named by its place."""

import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.items import Items, Judged, decode_item, decode_items, judge
from shared.domain.market.bars import Bar, check_bar
from shared.domain.problems import MAX_PROBLEMS, Problems
from shared.errors import BatchTooLarge, InvalidInput, MalformedJson, SymbolNotLicensed, ValidationFailed

MOST = 200
BAR = {"open_time": "2026-03-02T14:29:00Z", "open": 1, "high": 2, "low": 1, "close": 2, "volume": 3}
# How a bar can be bad, and the code of its refusal. The first ones cannot be decoded, the last ones can.
BAD: list[tuple[Any, str]] = [
    ({}, "validation_failed"),
    (7, "validation_failed"),
    (None, "validation_failed"),
    ([BAR], "validation_failed"),
    (BAR | {"volume": -1}, "validation_failed"),
    (BAR | {"close": "one"}, "validation_failed"),
    (BAR | {"colour": "red"}, "unknown_field"),
    (BAR | {"colour": "red", "volume": None}, "validation_failed"),
    (BAR | {"high": 0}, "validation_failed"),
    (BAR | {"open_time": "2026-03-02T14:29:01Z"}, "validation_failed"),
]


class Request(msgspec.Struct, forbid_unknown_fields=True):
    bars: list[Bar]
    symbol: str = "ES"


def sent(bars: object, **more: Any) -> Items[Bar]:
    return decode_items(msgspec.json.encode({"bars": bars, **more}), Request, "bars", Bar, MOST)[1]


def judged(bars: object, *, strict: bool = False) -> Judged[Bar]:
    return judge(sent(bars), check_bar, most=MOST, strict=strict)


def good(place: int) -> dict[str, Any]:
    return BAR | {"volume": place}


bodies = st.lists(st.none() | st.sampled_from(BAD), min_size=1, max_size=MOST)


@given(bodies)
def test_exactly_the_good_items_are_accepted_and_each_other_one_is_told_by_its_place(
    bad: list[tuple[Any, str] | None],
) -> None:
    bars = [good(place) if each is None else each[0] for place, each in enumerate(bad)]
    good_places = [place for place, each in enumerate(bad) if each is None]
    if not good_places:
        with pytest.raises(ValidationFailed):
            judged(bars)
        return
    found = judged(bars)
    assert {place: bar.volume for place, bar in found.accepted.items()} == {n: n for n in good_places}
    assert [*found.accepted] == good_places
    assert [each.index for each in found.refused] == [n for n, each in enumerate(bad) if each is not None]
    assert all(each.message for each in found.refused)
    errors = [error for each in found.refused for error in each.errors]
    assert len(errors) <= MAX_PROBLEMS
    for each in found.refused:
        told = bad[each.index]
        assert told is not None
        assert all(error.field.startswith(f"bars[{each.index}]") for error in each.errors)
        if each.errors:
            assert each.code == told[1]
        else:
            assert len(errors) == MAX_PROBLEMS


@given(bodies)
def test_a_strict_body_is_accepted_whole_or_refused_whole(bad: list[tuple[Any, str] | None]) -> None:
    bars = [good(place) if each is None else each[0] for place, each in enumerate(bad)]
    if not any(bad):
        assert len(judged(bars, strict=True).accepted) == len(bars)
        return
    with pytest.raises(ValidationFailed) as refused:
        judged(bars, strict=True)
    named = {error.field.partition(".")[0] for error in refused.value.errors}
    wrong = [f"bars[{place}]" for place, each in enumerate(bad) if each is not None]
    assert named <= set(wrong)
    if len(refused.value.errors) < MAX_PROBLEMS:
        assert named == set(wrong)
    if len(bars) > 1:
        assert refused.value.detail.startswith(f"{len(wrong)} of {len(bars)} bars cannot be accepted")


@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([msgspec.json.encode(BAR), b"{}", b"7"]), max_size=6)
)
def test_any_bytes_between_items_are_accepted_or_refused(parts: list[bytes]) -> None:
    body = b'{"bars":[' + b",".join(parts) + b"]}"
    try:
        judge(decode_items(body, Request, "bars", Bar, MOST)[1], check_bar, most=MOST)
    except InvalidInput as error:
        assert error.detail


def test_an_item_is_told_with_its_bad_fields_under_their_full_names() -> None:
    found = judged([BAR, BAR | {"high": 1, "low": 3}, BAR | {"colour": 1}, {}])
    high, colour, empty = found.refused
    assert (high.index, high.code, high.message) == (
        1,
        "validation_failed",
        "high: Must not be below open, low or close. And 1 more; see errors.",
    )
    assert [(each.field, each.code) for each in high.errors] == [
        ("bars[1].high", "out_of_range"),
        ("bars[1].low", "out_of_range"),
    ]
    assert colour.message.startswith("colour: This field is not known; ")
    assert [error.field for error in empty.errors] == [
        f"bars[3].{name}" for name in ("open_time", "open", "high", "low", "close", "volume")
    ]


def test_an_item_that_is_no_object_is_told_without_a_field() -> None:
    (refused,) = judged([BAR, 7]).refused
    assert refused.message == "Expected an object, got 7."
    assert [error.field for error in refused.errors] == ["bars[1]"]


def test_items_after_the_bound_keep_place_code_and_message() -> None:
    found = judged([BAR, *[{}] * 60, *[BAR | {"high": 1}] * 60])
    errors = [error for each in found.refused for error in each.errors]
    assert len(errors) == MAX_PROBLEMS
    assert [each.index for each in found.refused] == list(range(1, 121))
    undecodable, impossible = found.refused[30], found.refused[90]
    assert undecodable.errors == impossible.errors == ()
    assert undecodable.message.startswith("It does not have the expected form.")
    assert impossible.message == "high: Must not be below open, low or close."
    # An answer leaves out what is not there.
    assert set(msgspec.to_builtins(impossible)) == {"index", "code", "message"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"bars":[{}],"colour":1}', {"colour"}),
        (b'{"bars":[{}],"symbol":7}', {"symbol"}),
        (b'{"bars":{}}', {"bars"}),
        (b'{"bars":null}', {"bars"}),
        (b'{"symbol":"ES"}', {"bars"}),
        (b"[{}]", {""}),
        (b"7", {""}),
    ],
)
def test_a_fault_outside_of_the_items_refuses_the_body(body: bytes, fields: set[str]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        decode_items(body, Request, "bars", Bar, MOST)
    assert fields <= {error.field for error in refused.value.errors}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"bars":[{},',
        b'{"bars":[{}]',
        b'{"bars":[{},{]}',
        b'{"bars":[{}]} x',
        b'{"bars":[{},"\xff"]}',
    ],
)
def test_what_is_no_json_refuses_the_body_also_behind_a_bad_item(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        decode_items(body, Request, "bars", Bar, MOST)


@pytest.mark.parametrize("bar", [BAR, {}, BAR | {"high": 0}])
def test_a_body_has_at_least_one_item_and_at_most_the_limit(bar: object) -> None:
    with pytest.raises(BatchTooLarge, match="at most 200 bars; this one has 201"):
        judged([bar] * (MOST + 1))
    with pytest.raises(ValidationFailed) as refused:
        judged([])
    assert [(error.field, error.code) for error in refused.value.errors] == [("bars", "out_of_range")]


def test_the_number_of_items_is_that_of_the_sent_ones() -> None:
    assert len(sent([BAR, {}, BAR])) == 3


def test_the_rest_of_the_request_is_decoded_beside_bad_items() -> None:
    body = msgspec.json.encode({"symbol": "NQ", "bars": [{}, BAR]})
    request, bars = decode_items(body, Request, "bars", Bar, MOST)
    assert (request.symbol, [each is not None for each in bars.decoded]) == ("NQ", [False, True])


def test_a_bare_item_is_the_first_of_its_name() -> None:
    assert decode_item(msgspec.json.encode(BAR), "bars", Bar).decoded[0] is not None
    with pytest.raises(ValidationFailed) as refused:
        decode_item(b'{"open_time":7,"colour":1}', "bars", Bar)
    assert {"bars[0].open_time", "bars[0].colour", "bars[0].low"} <= {
        error.field for error in refused.value.errors
    }


def test_what_the_license_does_not_cover_keeps_its_own_refusal() -> None:
    def strange(bar: Bar, problems: Problems) -> None:
        problems.add("symbol", "symbol_not_licensed", "CL is not in the license.")

    items = sent([BAR, BAR])
    with pytest.raises(SymbolNotLicensed) as refused:
        judge(items, strange, most=MOST)
    assert refused.value.detail == "2 of 2 bars cannot be accepted, so nothing was stored."
    with pytest.raises(SymbolNotLicensed, match="CL is not in the license"):
        judge(sent([BAR]), strange, most=MOST)
    with pytest.raises(ValidationFailed):
        judge(sent([BAR, {}]), strange, most=MOST)


@pytest.mark.parametrize("bad", [{}, {"volume": -1}, {"colour": 1}])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("changed", "name", "value"),
    [
        ('"volume":1234.0', "volume", 1234),
        ('"volume":1.03e6', "volume", 1_030_000),
        ('"close":1.500000000', "close", Decimal("1.5")),
        ('"close":"0000001.50"', "close", Decimal("1.5")),
        ('"close":15E-1', "close", Decimal("1.5")),
    ],
)
def test_an_unusual_number_is_accepted_beside_a_bad_item(
    bad: dict[str, Any], place: int, changed: str, name: str, value: object
) -> None:
    usual = f'"{name}":{BAR[name]}'
    unusual = msgspec.json.encode(BAR).decode().replace(usual, changed)
    items = [unusual, unusual]
    items[place] = msgspec.json.encode(bad and BAR | bad).decode()
    found = decode_items(f'{{"bars":[{",".join(items)}]}}'.encode(), Request, "bars", Bar, MOST)[1]
    accepted = found.decoded[1 - place]
    assert accepted is not None
    assert (getattr(accepted, name), found.decoded[place]) == (value, None)
    assert [*found.refused] == [place]


def test_a_number_that_is_none_refuses_its_item_only() -> None:
    found = sent([BAR, BAR | {"close": "1_0"}, BAR | {"close": " 2"}, BAR | {"volume": 2.5}])
    assert [(each.index, each.errors[0].field, each.errors[0].code) for each in found.refused.values()] == [
        (1, "bars[1].close", "invalid_format"),
        (2, "bars[2].close", "invalid_format"),
        (3, "bars[3].volume", "wrong_type"),
    ]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "Infinity", "1e400"])
@pytest.mark.parametrize("name", ["close", "volume", "open_time"])
@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_what_json_has_no_number_for_refuses_its_item_only(number: str, name: str, blank: str) -> None:
    good = msgspec.json.encode(BAR).decode()
    bad = re.sub(rf'"{name}":("[^"]*"|[0-9]+)', f'"{name}":{blank}{number}{blank}', good)
    body = f'{{"bars":[{good},{bad},{good}]}}'.encode()
    found = judge(decode_items(body, Request, "bars", Bar, MOST)[1], check_bar, most=MOST)
    assert [*found.accepted] == [0, 2]
    ((refused,),) = [found.refused]
    assert [error.field for error in refused.errors] == [f"bars[1].{name}"]
    assert refused.errors[0].code == ("wrong_type" if name == "open_time" else "out_of_range")
    assert "999" not in refused.message
    with pytest.raises(ValidationFailed) as all_refused:
        judge(decode_items(body, Request, "bars", Bar, MOST)[1], check_bar, most=MOST, strict=True)
    assert [error.field for error in all_refused.value.errors] == [f"bars[1].{name}"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"bars":[%s],"symbol":NaN}', "symbol"),
        ('{"bars":[%s,NaN]}', "bars[1]"),
        ('{"bars":[%s],"colour":"\\u0061","symbol":NaN}', "symbol"),
    ],
)
def test_nan_elsewhere_refuses_the_body_and_is_named(body: str, field: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        decode_items((body % msgspec.json.encode(BAR).decode()).encode(), Request, "bars", Bar, MOST)
    assert [error.field for error in refused.value.errors] == [field]


def test_items_after_the_bound_may_be_written_unusually() -> None:
    found = sent([{}] * 60 + [BAR | {"volume": 3.0, "close": 20e-1}])
    assert found.decoded[60] is not None
    assert (len(found.refused), found.decoded[60].volume) == (60, 3)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"bars":[{},%s],"bars":[{}]}', "bars"),
        ('{"bars":[{},%s],"symbol":"ES","symbol":"NQ"}', "symbol"),
        ('{"bars":[{},{"volume":4,"low":1,"low":1},%s],"symbol":"ES","\\u0073ymbol":"NQ"}', "symbol"),
    ],
)
def test_a_name_given_twice_beside_a_bad_item_refuses_the_body(body: str, field: str) -> None:
    with pytest.raises(MalformedJson) as refused:
        decode_items((body % msgspec.json.encode(BAR).decode()).encode(), Request, "bars", Bar, MOST)
    assert [error.field for error in refused.value.errors] == [field]
