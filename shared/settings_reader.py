"""Reads named settings from a mapping and reports every problem at once."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from shared.errors import ConfigurationError

# An app setting may be a reference to a secret. The platform resolves it before the app starts.
_KEY_VAULT_REFERENCE = "@microsoft.keyvault("
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MAX_ORIGINS = 50
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(?P<scheme>https?)://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
_USUAL_PORTS = {("http", "80"), ("https", "443")}
_SHARE = re.compile(r"[01]|0?\.[0-9]{1,9}|1\.0{1,9}")


class SettingsReader:
    """Reads settings: each method returns a value, or after it has reported a problem, a replacement for it.

    `check` raises once, at the end. An empty or blank setting counts as not set. Problems name settings and
    never contain a value, because a value may be a secret.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []

    def report(self, problem: str) -> None:
        self.problems.append(problem)

    def check(self, error: type[ConfigurationError] = ConfigurationError) -> None:
        """Raises `error` with every problem in its text, if there is a problem."""
        if self.problems:
            raise error("; ".join(self.problems))

    def optional(self, name: str) -> str:
        return self.environment.get(name, "").strip()

    def text(self, name: str, default: str | None = None) -> str:
        value = self.optional(name) or default
        if value is None:
            self.report(f"{name} is not set")
            return ""
        if value.casefold().startswith(_KEY_VAULT_REFERENCE):
            self.report(
                f"{name} is a Key Vault reference that the platform has not resolved: check the app's "
                "access to the vault, then restart the app"
            )
            return ""
        return value

    def address(self, name: str, scheme: str) -> str:
        """The address in `name`, if it has this scheme, a host, and no user or password."""
        value = self.text(name)
        if value and not _is_address(value, scheme):
            self.report(f"{name} must be {scheme}://<host>... without a user or a password")
        return value

    def origins(self, name: str) -> tuple[str, ...]:
        """Origins with commas between them, each as browsers write it; none if the setting is not set."""
        parts = tuple(part.strip() for part in self.optional(name).split(",") if part.strip())
        if len(parts) > MAX_ORIGINS or not all(map(is_origin, parts)):
            self.report(
                f"{name} must be at most {MAX_ORIGINS} origins with commas between them, each exactly as a "
                "browser sends it: scheme, host in lower case, and the port unless it is the usual one, such "
                "as https://app.example.com or http://localhost:3000; no path, no slash at the end, no *"
            )
            return ()
        return tuple(dict.fromkeys(parts))

    def uuid(self, name: str) -> str:
        value = self.text(name)
        if value and not is_uuid(value):
            self.report(f"{name} must be a UUID")
        return value.lower()

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self.optional(name)
        if not value:
            return default
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            self.report(f"{name} must be a whole number from {low} to {high}")
            return default
        return int(value)

    def share(self, name: str, default: float) -> float:
        value = self.optional(name)
        if value and not _SHARE.fullmatch(value):
            self.report(f"{name} must be a share from 0 to 1, such as {default}")
            return default
        return float(value or default)

    def choice[Choice: str](self, name: str, default: Choice, allowed: tuple[Choice, ...]) -> Choice:
        value = self.optional(name) or default
        for each in allowed:
            if each == value:
                return each
        self.report(f"{name} must be one of {', '.join(allowed)}")
        return default

    def refuse(self, why: str, *names: str) -> None:
        """Reports each of `names` that is set; `why` follows its name."""
        for name in names:
            if self.optional(name):
                self.report(f"{name} {why}")


def is_uuid(value: str) -> bool:
    return _UUID.fullmatch(value) is not None


def is_origin(value: str) -> bool:
    """Whether `value` is an origin as browsers serialise it (RFC 6454, 6.2), so that it can be compared."""
    found = _ORIGIN.fullmatch(value) if len(value) <= 255 else None
    if found is None:
        return False
    port = found["port"]
    return port is None or (int(port) <= 65_535 and (found["scheme"], port) not in _USUAL_PORTS)


def _is_address(value: str, scheme: str) -> bool:
    try:
        url = urlsplit(value)
        _ = url.port  # raises ValueError if it is not a number
    except ValueError:
        return False
    return url.scheme == scheme and bool(url.hostname) and "@" not in url.netloc
