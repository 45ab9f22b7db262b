"""Compresses answers with gzip for callers that accept it (RFC 9110, 12.5.3 and 8.4.1.3).

Answers up to ABOVE_BYTES are sent as they are, because they fit into one packet anyway; so the hot path pays
for one comparison. Answers that hold a secret are never compressed, see Route.holds_secret.
"""

import asyncio
import zlib
from collections.abc import Mapping

from functions.web.answers import Response
from functions.web.cors import add_vary

ABOVE_BYTES = 1_024
# Level 1 makes a page of 500 trades, 226 KiB, a fifth of its size in 1.2 ms; level 6 a sixth in 3.3 ms.
LEVEL = 1
# Larger bodies are compressed in a thread, beside the loop: zlib releases the interpreter's lock.
INLINE_BYTES = 65_536
_GZIP = 31  # zlib's window size with a gzip header and trailer
# No sensible header is longer; a longer one is not read.
_MAX_HEADER = 1_000


async def compress(response: Response, request: Mapping[str, str]) -> None:
    """Compresses the body, if the caller accepts that and it gets smaller. The response varies by it."""
    add_vary(response.headers, "Accept-Encoding")
    if "accept-encoding" not in request or not accepts_gzip(request["accept-encoding"]):
        return
    body = response.body
    packed = gzipped(body) if len(body) <= INLINE_BYTES else await asyncio.to_thread(gzipped, body)
    if len(packed) < len(body):
        response.body = packed
        response.headers["content-encoding"] = "gzip"


def gzipped(body: bytes) -> bytes:
    """`body` in gzip; equal bodies give equal bytes, because there is no time in the header."""
    return zlib.compress(body, LEVEL, _GZIP)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header accepts gzip, and does not prefer the body as it is.

    A coding that is not listed has the weight of `*`. Without either, gzip is refused, and the body as it is
    is accepted, but less than anything that is listed. A weight that is no number counts as 0.
    """
    weights: dict[str, float] = {}
    for part in (
        accept_encoding[: _MAX_HEADER + 1].lower().split(",") if len(accept_encoding) <= _MAX_HEADER else ()
    ):
        coding, _, parameters = part.partition(";")
        weights[coding.strip()] = _weight(parameters)
    every = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", every))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if not name:
        return 1.0
    value = value.strip()
    is_number = name.strip() == "q" and value.isascii() and value.replace(".", "", 1).isdigit()
    return min(float(value), 1.0) if is_number else 0.0
