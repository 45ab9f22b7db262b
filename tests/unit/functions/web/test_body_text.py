"""Packed bodies are unpacked within the route's limit; what is not UTF-8 is told what to send."""

import gzip
import json
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.web.body_text import refuse_other_charset, unpacked, without_mark
from shared.errors import BodyTooLarge, MalformedJson, UnsupportedMediaType

TEXT = json.dumps({"symbol": "ES", "bars": [{"open": index} for index in range(500)]}).encode()
LIMIT = 64 * 1024


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


PACKED = [
    ("gzip", gzip.compress(TEXT)),
    ("GZIP", gzip.compress(TEXT)),
    (" x-gzip ", gzip.compress(TEXT)),
    ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", zlib.compress(TEXT, level=1)),
    ("deflate", raw_deflate(TEXT)),
    ("identity", TEXT),
    ("", TEXT),
]


@pytest.mark.parametrize(("coding", "body"), PACKED)
def test_a_packed_body_is_unpacked(coding: str, body: bytes) -> None:
    assert unpacked(body, coding, LIMIT) == TEXT
    assert unpacked(body, coding, len(TEXT)) == TEXT


@pytest.mark.parametrize(("coding", "body"), [each for each in PACKED if each[1] is not TEXT])
def test_the_limit_of_the_route_is_that_of_the_unpacked_body(coding: str, body: bytes) -> None:
    with pytest.raises(BodyTooLarge, match=f"at most {len(TEXT) - 1} bytes when unpacked"):
        unpacked(body, coding, len(TEXT) - 1)


@given(st.binary(max_size=2_000), st.sampled_from(["gzip", "deflate"]), st.booleans())
def test_all_bytes_come_back(body: bytes, coding: str, raw: bool) -> None:
    packed = gzip.compress(body) if coding == "gzip" else raw_deflate(body) if raw else zlib.compress(body)
    assert unpacked(packed, coding, LIMIT) == body


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_stopped_at_the_limit(coding: str) -> None:
    zeros = bytes(200 * 1024 * 1024)
    bomb = gzip.compress(zeros, 1) if coding == "gzip" else zlib.compress(zeros, 1)
    del zeros
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(BodyTooLarge):
        unpacked(bomb, coding, LIMIT)
    assert time.process_time() - began < 0.1
    assert tracemalloc.get_traced_memory()[1] < 4 * len(bomb) + 8 * LIMIT
    tracemalloc.stop()


def test_a_file_of_many_empty_members_is_refused_soon() -> None:
    began = time.process_time()
    with pytest.raises(MalformedJson, match="follows the gzip body"):
        unpacked(gzip.compress(b"") * 50_000, "gzip", LIMIT)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("cut", [1, 2, 5, 20, len(gzip.compress(TEXT)) // 2, -9, -4, -1])
def test_a_body_that_ends_too_early_is_malformed(coding: str, cut: int) -> None:
    packed = gzip.compress(TEXT) if coding == "gzip" else zlib.compress(TEXT)
    with pytest.raises(MalformedJson, match=r"ends too early; send all of it|is not deflate"):
        unpacked(packed[:cut], coding, LIMIT)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", TEXT),
        ("gzip", zlib.compress(TEXT)),
        ("gzip", b"\x1f\x8b" + b"x" * 50),
        ("gzip", gzip.compress(TEXT)[:-5] + b"x" + gzip.compress(TEXT)[-4:]),
        ("deflate", TEXT),
        ("deflate", zlib.compress(TEXT)[:-1] + b"x"),
        ("deflate", gzip.compress(TEXT)),
    ],
)
def test_a_body_that_has_not_its_coding_is_malformed(coding: str, body: bytes) -> None:
    with pytest.raises(MalformedJson, match=f"The body is not {coding}, although Content-Encoding says so"):
        unpacked(body, coding, LIMIT)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT) + b"\0"),
        ("gzip", gzip.compress(TEXT) + b"more"),
        ("deflate", zlib.compress(TEXT) + b"more"),
        ("deflate", raw_deflate(TEXT) + raw_deflate(TEXT)),
    ],
)
def test_nothing_may_follow(coding: str, body: bytes) -> None:
    with pytest.raises(MalformedJson):
        unpacked(body, coding, LIMIT)


@pytest.mark.parametrize(
    "coding", ["br", "zstd", "compress", "gzip, gzip", "gzip,deflate", "gzip;q=1", "chunked", ","]
)
def test_other_codings_are_told_those_that_are_accepted(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="one content coding of gzip, deflate") as refused:
        unpacked(TEXT, coding, LIMIT)
    assert refused.value.accept_encoding == "gzip, deflate"


def test_an_empty_body_has_nothing_to_unpack() -> None:
    assert unpacked(b"", "gzip", LIMIT) == b""


def test_a_mark_is_skipped_once() -> None:
    assert without_mark(b"\xef\xbb\xbf" + TEXT) == TEXT
    assert without_mark(b"\xef\xbb\xbf\xef\xbb\xbf") == b"\xef\xbb\xbf"
    assert without_mark(b" " + TEXT) == b" " + TEXT
    assert without_mark(b"") == b""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("text", ['{"a": 1}', "[]", " \n{}", '"ä"', "7"])
def test_utf_16_and_32_are_told_to_send_utf_8(encoding: str, mark: str, text: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"Send JSON in UTF-8; this body begins like UTF-"):
        without_mark((mark + text).encode(encoding))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; charset = utf8",
        "text/plain; charset=us-ascii",
        "application/json; boundary=x; charset=utf-8",
        "application/json",
    ],
)
def test_utf_8_and_its_part_ascii_are_accepted(content_type: str) -> None:
    refuse_other_charset(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-16",
        "application/json;CHARSET=ISO-8859-1",
        'application/json; charset="windows-1252"',
        "application/json; charset=",
    ],
)
def test_other_charsets_are_told_to_send_utf_8(content_type: str) -> None:
    with pytest.raises(
        UnsupportedMediaType, match="Send JSON in UTF-8; the Content-Type names another charset"
    ):
        refuse_other_charset(content_type)
