"""Serves web pages out of files, with headers that let them do only what they need."""

from functools import cache
from pathlib import Path

from functions.web.answers import Answer

HTML = "text/html"
SCRIPT = "text/javascript"
STYLE = "text/css"

_STATIC = Path(__file__).parent.parent / "static"
# A page runs our own scripts and calls our own API. No other page may frame it, and a link from it, or a
# resource of it, tells nobody its address.
_PAGE = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_PART = {"cache-control": "public, max-age=300", "cross-origin-resource-policy": "same-origin"}


def page(name: str) -> Answer:
    """The page `name` of functions/static, which no cache keeps."""
    return Answer(_read(name), content_type=HTML, headers=dict(_PAGE))


def part(name: str, media_type: str) -> Answer:
    """A script or a style of a page, the same for everybody."""
    return Answer(_read(name), content_type=media_type, headers=dict(_PART))


@cache
def _read(name: str) -> bytes:
    return (_STATIC / name).read_bytes()
