"""Reads single keys of a stack's configuration, and collects every problem with them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from infra.ncrontab import CronSchedule, parse_schedule

_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class ConfigurationError(Exception):
    """The configuration cannot be used; the text names every problem, one a line, and no secret."""


@dataclass(frozen=True, slots=True)
class StackConfig:
    """What the stack's file and `pulumi config set` hold.

    Keys stand without the project's name, values are texts. `secret_keys` were set with `--secret`.
    """

    stack: str
    values: Mapping[str, str] = field(repr=False)
    secret_keys: frozenset[str] = frozenset()


class SettingsReader:
    """Returns values; a wrong value becomes a problem, and the method returns a valid one in its place.

    A key without a default is required. Method names and texts are those of the app's own reader, in
    shared/settings.py.
    """

    def __init__(self, config: StackConfig) -> None:
        self._config = config
        self._known: set[str] = set()
        self._problems: list[str] = []
        self._wrong: set[str] = set()

    def problem(self, text: str, *keys: str) -> None:
        """Adds a problem; no later conflict is reported for `keys`."""
        self._problems.append(text)
        self._wrong.update(keys)

    def conflict(self, text: str, *keys: str) -> None:
        """Adds a problem of several keys together, unless one of them has a problem of its own."""
        if not self._wrong.intersection(keys):
            self._problems.append(text)

    def must_be(self, key: str, meaning: str, value: str) -> None:
        """Adds the problem of a wrong value, and repeats the value unless it was set with `--secret`."""
        got = "" if key in self._config.secret_keys else f", got {value!r}"
        self.problem(f"{key} must be {meaning}{got}", key)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._given(key) or default
        if value is None:
            self.problem(f"{key} is not set: pulumi config set {key} <value>", key)
            return ""
        return value

    def listed(
        self, key: str, is_valid: Callable[[str], object], meaning: str, default: str | None = None
    ) -> tuple[str, ...]:
        """Values with commas between them."""
        value = self.text(key, default)
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        wrong = ", ".join(part for part in parts if not is_valid(part))
        if value and (wrong or not parts):
            self.must_be(key, f"{meaning}, with commas between them", wrong or value)
        return parts

    def secret(self, key: str, default: str | None = None) -> str:
        """A value that was set with `--secret`, so that the stack's file holds it encrypted."""
        value = self._given(key)
        if value and key not in self._config.secret_keys:
            self.problem(f"{key} must be encrypted: pulumi config set --secret {key} <value>", key)
        if not value and default is None:
            self.problem(f"{key} is not set: pulumi config set --secret {key} <value>", key)
        return value or default or ""

    def matching(self, key: str, pattern: str, meaning: str, default: str | None = None) -> str:
        value = self.text(key, default)
        if value and not re.fullmatch(pattern, value):
            self.must_be(key, meaning, value)
        return value

    def schedule(self, key: str, default: str) -> str:
        """Six NCRONTAB fields; a constant interval is refused, because the cost model counts runs."""
        value = self.text(key, default)
        try:
            is_schedule = isinstance(parse_schedule(value), CronSchedule)
        except ValueError:
            is_schedule = False
        if not is_schedule:
            self.must_be(key, "six NCRONTAB fields in UTC", value)
        return value

    def uuid(self, key: str) -> str:
        return self.matching(key, _UUID, "a UUID")

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.text(key, None if default is None else str(default))
        if value.isascii() and value.isdigit() and low <= int(value) <= high:
            return int(value)
        if value:
            self.must_be(key, f"a whole number from {low} to {high}", value)
        return low

    def share(self, key: str, default: Decimal) -> Decimal:
        """Keeps its digits, so that the app gets the share as it was written."""
        value = self.text(key, str(default))
        if not re.fullmatch(r"0(\.[0-9]{1,6})?|1(\.0{1,6})?", value):
            self.must_be(key, f"a share from 0 to 1, such as {default}", value)
            return default
        return Decimal(value)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        fallback = None if default is None else str(default).lower()
        return self.choice(key, ("true", "false"), fallback) == "true"

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self.text(key, default)
        if value in allowed:
            return value
        if value:
            self.must_be(key, f"one of {', '.join(allowed)}", value)
        return allowed[0]

    def finish(self) -> None:
        """Raises ConfigurationError if there is a problem; a key that no method read is one."""
        unknown = sorted(set(self._config.values) - self._known)
        problems = [*self._problems, *(f"{key} is not a setting" for key in unknown)]
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise ConfigurationError(
                f"The configuration of stack {self._config.stack} has problems:\n{listed}"
            )

    def _given(self, key: str) -> str:
        self._known.add(key)
        return self._config.values.get(key, "").strip()
