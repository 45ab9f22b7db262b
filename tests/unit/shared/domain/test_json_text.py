"""A body that is no JSON is told where and why, in our own words."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.decoding import decode
from shared.domain.json_text import MAX_PARTS, parsed, unreadable
from shared.domain.market.signals import SignalRequest
from shared.errors import InvalidInput, MalformedJson, ValidationFailed
from tests.support.requests import SIGNAL

GOOD = json.dumps(SIGNAL)
# Texts of the standard library, of msgspec and of Python.
FOREIGN = re.compile(
    r"Expecting|delimiter|property name|Extra data|codec|surrogate|malformed:|trailing characters|truncated"
    r"|`|\$\.|<class|object at 0x|\b(?:None|True|False|dict|str|int|float|bool|bytes|Decimal|datetime)\b"
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The body is empty; send JSON."),
        (b" \r\n\t", "The body is empty; send JSON."),
        (
            b"{",
            "expected a name in quotation marks, or }, found the end of the body at byte 1 (line 1, ",
        ),
        (b'{"a": 1', "expected a comma, a colon or a closing bracket, found the end of the body at byte 7"),
        (
            b'{"a": 1}\0',
            "expected nothing more after the JSON value, found a NUL byte at byte 8 (line 1, column 9)",
        ),
        (
            b'{"a": 1}\n}',
            'expected nothing more after the JSON value, found "}" at byte 9 (line 2, column 1)',
        ),
        (b'{"a": 1}{"b": 2}', 'expected nothing more after the JSON value, found "{" at byte 8'),
        (b'{"a": 1,}', "expected something after the comma"),
        (b"[1,]", "expected something after the comma"),
        (b'{"a" 1}', 'expected a comma, a colon or a closing bracket, found "1" at byte 5'),
        (b"{'a': 1}", 'expected a name in quotation marks, or }, found "\'" at byte 1'),
        (b'{"a": True}', 'expected a value, found "T" at byte 6'),
        (b'{"a": 01}', 'expected a comma, a colon or a closing bracket, found "1" at byte 7'),
        (
            b'{"a": "x}',
            "expected a quotation mark at the end of the string, found a quotation mark at byte 6",
        ),
        (
            b'{"a": "x\ny"}',
            r"expected text, or an escape such as \n or \u000a, found the character U+000A at byte 8",
        ),
        (b'{"a": "x\0y"}', r"expected text, or an escape such as \n or \u000a, found a NUL byte at byte 8"),
        (b'{"a": "\\x"}', 'or \\u000a, found "\\" at byte 7'),
        ('{"ä€": x}'.encode(), 'expected a value, found "x" at byte 10 (line 1, column 8)'),
        (
            "{“a”: 1}".encode(),
            "expected a name in quotation marks, or }, found the character U+201C at byte 1",
        ),
        (
            b'{"side": "\xe4"}',
            "The body is not UTF-8: the byte at position 10 begins no character. Send UTF-8.",
        ),
        (b'{"a": "\\ud83d"}', r"a text has half of a character, such as \ud83d alone"),
        (b"[" * 100_000, "nested too deeply"),
        (b"not json", 'expected a JSON value, found "n" at byte 0'),
        (b"{" + b"1," * MAX_PARTS + b"}", "expected a name in quotation marks, or }"),
        (b"{" + b"1," * (MAX_PARTS + 1) + b"}", "has far more fields or items than a valid one"),
    ],
)
def test_what_is_no_json_is_told_where_and_what_was_expected(body: bytes, said: str) -> None:
    with pytest.raises(MalformedJson) as caught:
        decode(body, SignalRequest)
    assert said in caught.value.detail
    assert not FOREIGN.search(caught.value.detail)


def test_numbers_that_json_has_not_are_named_with_their_paths() -> None:
    refused = unreadable(b'{"a": [1, {"b": NaN}], "c": -Infinity, "d": 1e400, "e": "NaN"}', "trades[0]")
    assert isinstance(refused, ValidationFailed)
    assert [(error.field, error.code, error.message) for error in refused.errors] == [
        ("trades[0].a[1].b", "out_of_range", "Expected a finite number, got NaN."),
        ("trades[0].c", "out_of_range", "Expected a finite number, got -Infinity."),
        ("trades[0].d", "out_of_range", "Expected a finite number, got 1e400."),
    ]


def test_a_long_number_is_not_built_and_not_shown_whole() -> None:
    refused = unreadable(b'{"a": %s, "b": NaN}' % (b"9" * 100_000))
    assert refused.errors[0].message == f"Expected a finite number, got {'9' * 40}...."


def test_the_number_of_errors_is_bounded() -> None:
    assert len(unreadable(b"[" + b",".join([b"NaN"] * 1_000) + b"]").errors) == 50


def test_a_value_beside_the_syntax_is_returned() -> None:
    assert parsed(b' {"a": [1, 2.5, null, "\\u00e4"]} ') == {"a": [1, 2.5, None, "\u00e4"]}


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_are_told_with_a_librarys_words(body: bytes) -> None:
    try:
        decode(body, SignalRequest)
    except InvalidInput as refused:
        texts = [refused.detail, *(error.message for error in refused.errors)]
        ours = [re.sub(r'(found|got) .*|"(?:[^"\\]|\\.)*"', "", text) for text in texts]
        assert not any(map(FOREIGN.search, ours))


@given(st.integers(0, len(GOOD)), st.sampled_from(list('{}[]:,"\\ 0ex\0\n')) | st.just(""), st.booleans())
def test_one_wrong_character_is_always_found_at_its_place_or_after_it(
    at: int, inserted: str, cut: bool
) -> None:
    body = (GOOD[:at] + inserted + ("" if cut else GOOD[at:])).encode()
    try:
        decode(body, SignalRequest)
    except MalformedJson as refused:
        found = re.search(r"at byte (\d+) ", refused.detail)
        if found is not None:
            assert int(found[1]) <= len(body)
            # What stands before is the beginning of some JSON, except a string without end, or a last comma.
            assert int(found[1]) >= at or body[int(found[1]) : int(found[1]) + 1] in (b'"', b",")
        else:
            assert "more than once" in refused.detail or "empty" in refused.detail
    except ValidationFailed as refused:
        assert refused.errors
