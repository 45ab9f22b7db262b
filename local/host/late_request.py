"""Requests as the platform's worker makes them.

Header names are in lower case, values of a repeated header or query key joined by commas, empty query
values left out, the body is bytes.
"""

import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any
from urllib.parse import parse_qsl, quote

from azure.functions._http import HttpRequestHeaders
from azure.functions.http import HttpRequest  # the class that the worker makes, not its public base

from local.host.http1 import Request

_PATH_SAFE = "/:@!$&'()*+,;=~-._"
_PLAIN_PATH = re.compile(r"[\w/.~-]*", re.ASCII)  # needs no encoding


class LateHeaders(HttpRequestHeaders):
    """Headers whose names are in lower case already."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.__http_headers__ = headers  # the base's constructor would copy it, name by name


class LateRequest(HttpRequest):
    """The worker's request, of which headers and body are there at once, and the rest when it is asked for.

    To make it whole took a tenth of all that a cached confidence costs, and few functions look at more.
    """

    def __init__(self, received: Request, route_params: Mapping[str, str], address: str) -> None:
        """`address` stands in the URL of a request without a Host header."""
        self._received = received
        self._route_params = route_params
        self._address = address

    def get_body(self) -> bytes:
        return self._received.body

    @property
    def headers(self) -> HttpRequestHeaders:
        return LateHeaders(self._received.headers)

    @cached_property
    def _whole(self) -> Any:
        received = self._received
        host = received.headers.get("host", self._address)
        return HttpRequest(
            received.method,
            request_url("http", host, received.path, received.query),
            headers=received.headers,
            params=query_params(received.query),
            route_params=self._route_params,
            body_type="bytes",
            body=received.body,
        )

    method = property(attrgetter("_whole.method"))
    url = property(attrgetter("_whole.url"))
    params = property(attrgetter("_whole.params"))
    route_params = property(attrgetter("_whole.route_params"))
    form = property(attrgetter("_whole.form"))
    files = property(attrgetter("_whole.files"))

    def get_json(self) -> Any:
        return self._whole.get_json()


def request_url(scheme: str, host: str, path: str, query: str) -> str:
    """The absolute URL; `path` is decoded and is encoded again, `query` is as it came."""
    url = f"{scheme}://{host}{encoded_path(path)}"
    return f"{url}?{query}" if query else url


def query_params(query: str) -> dict[str, str]:
    """Query parameters: keys that differ by case only are one, its values joined; empty ones left out."""
    spelling: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        key = spelling.setdefault(name.lower(), name)
        params[key] = f"{params[key]},{value}" if key in params else value
    return {name: value for name, value in params.items() if value}


@lru_cache(1_024)
def encoded_path(path: str) -> str:
    return path if _PLAIN_PATH.fullmatch(path) else quote(path, safe=_PATH_SAFE)
