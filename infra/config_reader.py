"""Reads one stack's configuration, key by key, and gathers every problem."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


class ConfigurationProblems(Exception):
    """The configuration cannot be used; the text names every problem, one a line."""


@dataclass(frozen=True, slots=True)
class StackConfig:
    """What the stack's file and `pulumi config set` hold: keys without the project's name, values as text."""

    stack: str
    values: Mapping[str, str] = field(repr=False)
    secret_keys: frozenset[str] = frozenset()


class ConfigReader:
    """Hands out values; a wrong one becomes a problem and reads as a harmless default."""

    def __init__(self, config: StackConfig) -> None:
        self._config = config
        self._known: set[str] = set()
        self._problems: list[str] = []
        self._wrong: set[str] = set()

    def problem(self, text: str, *keys: str) -> None:
        """`keys` are those whose values are of no use, so that nothing follows from them."""
        self._problems.append(text)
        self._wrong.update(keys)

    def together(self, text: str, *keys: str) -> None:
        """A problem of values together; none where one of them is a problem by itself."""
        if not self._wrong.intersection(keys):
            self._problems.append(text)

    def text(self, key: str, default: str | None = None) -> str:
        self._known.add(key)
        value = self._config.values.get(key, "").strip()
        if value:
            return value
        if default is None:
            self.problem(f"{key} is not set: pulumi config set {key} <value>", key)
            return ""
        return default

    def has(self, key: str) -> bool:
        """Whether a value was given, right or wrong."""
        return bool(self._config.values.get(key, "").strip())

    def secret(self, key: str, default: str | None = None) -> str:
        """A value that must have been set with --secret, so that it lies encrypted in the stack's file."""
        self._known.add(key)
        value = self._config.values.get(key, "").strip()
        if value and key not in self._config.secret_keys:
            self.problem(f"{key} lies in plain text: pulumi config set --secret {key} <value>", key)
        if not value and default is None:
            self.problem(f"{key} is not set: pulumi config set --secret {key} <value>", key)
        return value or default or ""

    def matching(self, key: str, pattern: str, meaning: str, default: str | None = None) -> str:
        value = self.text(key, default)
        if value and not re.fullmatch(pattern, value):
            self.problem(f"{key} must be {meaning}, not {value!r}", key)
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.text(key, None if default is None else str(default))
        if value.isascii() and value.isdigit() and low <= int(value) <= high:
            return int(value)
        if value:
            self.problem(f"{key} must be a whole number from {low} to {high}, not {value!r}", key)
        return low

    def flag(self, key: str, default: bool | None = None) -> bool:
        fallback = None if default is None else str(default).lower()
        return self.choice(key, ("true", "false"), fallback) == "true"

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self.text(key, default)
        if value in allowed:
            return value
        if value:
            self.problem(f"{key} must be one of {', '.join(allowed)}, not {value!r}", key)
        return allowed[0]

    def finish(self) -> None:
        """Raises ConfigurationProblems where there are any; keys that nothing asked for are among them."""
        unknown = sorted(set(self._config.values) - self._known)
        problems = [*self._problems, *(f"{key} is not a setting" for key in unknown)]
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise ConfigurationProblems(
                f"The configuration of stack {self._config.stack} has problems:\n{listed}"
            )
