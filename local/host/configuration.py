"""What the host reads from the app's directory: host.json, local.settings.json, `%SETTING%`."""

import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.ncrontab import parse_time_span

# The setting that bounds bodies, and the platform's default (100 MB).
BODY_LIMIT_SETTING = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
DEFAULT_BODY_LIMIT = 104_857_600
# What Flex Consumption uses when host.json names none.
DEFAULT_FUNCTION_TIMEOUT = timedelta(minutes=30)
_SETTING_REFERENCE = re.compile(r"%([^%]+)%")


class HostError(Exception):
    """The app cannot be hosted; the message says what to change. Ends the process with code 2."""


@dataclass(frozen=True, slots=True)
class HostConfiguration:
    """The part of host.json that this host honours; `function_timeout` None means no limit."""

    route_prefix: str = "api"
    function_timeout: timedelta | None = DEFAULT_FUNCTION_TIMEOUT


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HostError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise HostError(f"{path.name} must hold a JSON object")
    return content


def _object_at(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, dict):
        raise HostError(f"{key} in host.json must be an object")
    return value


def read_host_configuration(directory: Path) -> HostConfiguration:
    """host.json of `directory`, defaults where it is silent or absent; raises HostError."""
    content = _read_object(directory / "host.json")
    prefix = _object_at(_object_at(content, "extensions"), "http").get("routePrefix", "api")
    if not isinstance(prefix, str):
        raise HostError("extensions.http.routePrefix in host.json must be a string")
    timeout: timedelta | None = DEFAULT_FUNCTION_TIMEOUT
    stated = content.get("functionTimeout")
    if stated == "-1":
        timeout = None
    elif stated is not None:
        try:
            timeout = parse_time_span(str(stated))
        except ValueError as error:
            raise HostError(f"functionTimeout in host.json: {error}") from error
    return HostConfiguration(route_prefix=prefix.strip("/"), function_timeout=timeout)


def read_body_limit(environment: Mapping[str, str]) -> int:
    """The number of bytes that a request's body may have; raises HostError."""
    stated = environment.get(BODY_LIMIT_SETTING, "")
    if not stated:
        return DEFAULT_BODY_LIMIT
    if not (stated.isascii() and stated.isdigit()):
        raise HostError(f"{BODY_LIMIT_SETTING} must be a number of bytes")
    return int(stated)


def load_local_settings(directory: Path, environment: MutableMapping[str, str]) -> None:
    """Adds the Values of local.settings.json to `environment`; what is already set there wins."""
    content = _read_object(directory / "local.settings.json")
    if content.get("IsEncrypted"):
        raise HostError("local.settings.json is encrypted; run `func settings decrypt` first")
    values = content.get("Values", {})
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise HostError("Values in local.settings.json must be an object of strings")
    for name, value in values.items():
        environment.setdefault(name, value)


def resolve_settings(text: str, environment: Mapping[str, str]) -> str:
    """`text` with every %NAME% replaced by that setting; raises HostError for one that is not set."""

    def value_of(match: re.Match[str]) -> str:
        value = environment.get(match[1])
        if not value:
            raise HostError(f"{match[0]} does not resolve to a value: set {match[1]}")
        return value

    return _SETTING_REFERENCE.sub(value_of, text)
