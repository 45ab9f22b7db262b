"""Encodes what a function returned as the answer to its request.

If a function sets a response header several times, the last value wins, except for Set-Cookie.
"""

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import azure.functions as func

# Status, headers without content-length (but see to_head), body.
type Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

# The server frames the answer; a function's own framing headers could only contradict it.
_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def encode_answer(result: Any, *, to_head: bool = False) -> Answer:
    """The answer that a function's result stands for.

    An answer to a HEAD that has no body may state the length of the body that a GET would get.

    Raises TypeError for a result of another type, ValueError for a status or a header that HTTP has no
    place for: a line break in a header's value would let that value add headers of its own.
    """
    if isinstance(result, str):
        return 200, [(b"content-type", b"text/plain; charset=utf-8")], result.encode()
    if not _is_response(result.__class__):
        raise TypeError(f"an HTTP function must return HttpResponse or str, not {type(result).__name__}")
    if not 200 <= result.status_code <= 599:
        raise ValueError(
            f"an HTTP function must answer with a status from 200 to 599, not {result.status_code}"
        )
    body: bytes = b"" if result.status_code in BODILESS else result.get_body()
    headers: dict[str, str] = {}
    cookies: list[tuple[str, str]] = []
    for name, value in result.headers.items():
        key = name.lower()
        if key == "set-cookie":
            cookies.append((key, value))
        elif key not in _FRAMING_HEADERS or (key == "content-length" and to_head and not body):
            headers[key] = value
    if "content-type" not in headers:
        mimetype: str = result.mimetype
        headers["content-type"] = (
            f"{mimetype}; charset={result.charset}" if mimetype.startswith("text/") else mimetype
        )
    fields = [*headers.items(), *cookies]
    text = "".join([name + value for name, value in fields])
    # Nearly every header is printable ASCII, which Python finds out ten times faster than the search.
    if not (text.isascii() and text.isprintable()) and _CONTROL_CHARACTER.search(text):
        raise ValueError("a header of the answer holds a control character")
    encoded = [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in fields
    ]
    return result.status_code, encoded, body


@lru_cache(1_024)
def _is_response(kind: type) -> bool:
    return issubclass(kind, func.HttpResponse)  # an abstract base class, whose check is slow
