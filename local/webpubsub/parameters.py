"""Reads the query, path and body of REST requests, and refuses what does not fit."""

from aiohttp import web

from local.webpubsub.filters import compile_filter
from local.webpubsub.hubs import Matches
from local.webpubsub.messages import Payload, payload_from_body
from local.webpubsub.roles import Permission
from local.webpubsub.upstream import DATA_TYPES


class Refused(Exception):
    """An operation refuses its request; the text is the `message` of the error body."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


async def payload(request: web.Request) -> Payload:
    data_type = DATA_TYPES.get(request.content_type)
    if data_type is None:
        raise Refused(415, "UnsupportedMediaType", f"The body may be one of {', '.join(DATA_TYPES)}.")
    return payload_from_body(data_type, await request.read())


def connection_filter(request: web.Request) -> Matches | None:
    text = request.query.get("filter")
    return compile_filter(text) if text is not None else None


def excluded(request: web.Request) -> frozenset[str]:
    return frozenset(request.query.getall("excluded", []))


def permission(request: web.Request) -> Permission:
    try:
        return Permission(request.match_info["permission"])
    except ValueError as error:
        raise Refused(400, "BadRequest", f"A permission is one of {', '.join(Permission)}.") from error


def whole_number(request: web.Request, name: str, default: int, *, low: int, high: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise Refused(400, "BadRequest", f"{name} must be a whole number from {low} to {high}.")
    return int(text)
