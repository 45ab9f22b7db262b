"""Reads headers, query and path of a request as the platform's worker does.

Header names are in lower case, the values of a repeated header or query key are joined by commas, and empty
query values are left out.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import parse_qsl, quote

# On Azure the front end and Easy Auth own these headers. This host has no front end, so it drops a caller's
# values: code that trusts such a header must not find it here.
PLATFORM_HEADER_PREFIXES = (
    "x-ms-",
    "x-arr-",
    "x-appservice-",
    "x-azure-",
    "x-forwarded-",
    "x-original-",
    "x-site-",
    "x-waws-",
)
PLATFORM_HEADERS = frozenset({"client-ip", "disguised-host", "was-default-hostname"})
# Parts of paths that are secrets: those of hooks and claim links, and keys that somebody put into an address.
_SECRET_PARTS = re.compile(
    r"(?<=/hooks/)(?!hook_)[^/]+|(?<=/claim/)[^/]+|(?:sch|sc_live|sc_test)_[0-9A-Za-z]+", re.IGNORECASE
)
_PATH_SAFE = "/:@!$&'()*+,;=~-._"
_PLAIN_PATH = re.compile(r"[\w/.~-]*", re.ASCII)  # needs no encoding


def header_fields(received: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name, without those that only the platform may set; `received` has names in lower case."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in received:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name not in PLATFORM_HEADERS and not name.startswith(PLATFORM_HEADER_PREFIXES):
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def forwarded_for(client: tuple[str, int] | None) -> dict[str, str]:
    """The header by which Azure's front end names the caller's address and port."""
    if client is None:
        return {}
    host, port = client[:2]
    return {"x-forwarded-for": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"}


def request_url(scheme: str, host: str, path: str, query: str) -> str:
    """The absolute URL; `path` is decoded and is encoded again, `query` stays as the caller sent it."""
    url = f"{scheme}://{host}{encoded_path(path)}"
    return f"{url}?{query}" if query else url


def query_params(query: str) -> dict[str, str]:
    """Query parameters without the empty ones; keys that differ only by case are one, their values joined."""
    spelling: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        key = spelling.setdefault(name.lower(), name)
        params[key] = f"{params[key]},{value}" if key in params else value
    return {name: value for name, value in params.items() if value}


def path_for_logs(path: str) -> str:
    """The path, encoded, without the secrets in it."""
    return _SECRET_PARTS.sub("***", encoded_path(path))


@lru_cache(1_024)
def encoded_path(path: str) -> str:
    return path if _PLAIN_PATH.fullmatch(path) else quote(path, safe=_PATH_SAFE)
