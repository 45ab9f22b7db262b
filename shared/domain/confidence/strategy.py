"""Describes strategies as their files declare them: features, ranges, quanta, symbols, prior, entry rules."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from keyword import iskeyword
from typing import Any, Literal

import msgspec

from shared.errors import ConfigurationError

FeatureType = Literal["number", "integer", "boolean", "category"]
FeatureValue = float | str | bool

# A request for a confidence has these fields beside the features.
STATE_FIELDS = ("symbol", "signal_type", "strategy")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MAX_NAME = 64


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input of a strategy. `range` is inclusive, in `unit`; `quantum` is the rounding step.

    A feature with `modelled = false` is checked and stored with a trade, but is no input of a model.
    """

    name: str
    type: FeatureType
    description: str
    range: tuple[float, float] | None = None
    unit: str = ""
    quantum: float = 1
    optional: bool = False
    modelled: bool = True
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or iskeyword(self.name):
            raise ValueError(f"{self.name}: a feature's name has lower-case letters, digits and underscores")
        if self.name in STATE_FIELDS:
            raise ValueError(f"{self.name}: a request has a field of this name already")
        if self.type in ("number", "integer"):
            if self.range is None or not self.range[0] < self.range[1] or self.quantum <= 0:
                raise ValueError(f"{self.name}: a {self.type} needs a range and a positive quantum")
            if any(Fraction(str(edge)) % self.exact_quantum for edge in self.range):
                # Otherwise a rounded value could be outside the range.
                raise ValueError(f"{self.name}: both ends of the range must be multiples of the quantum")
            if self.type == "integer" and self.exact_quantum.denominator != 1:
                raise ValueError(f"{self.name}: the quantum of an integer is a whole number")
        elif self.range is not None:
            raise ValueError(f"{self.name}: a {self.type} has no range")
        if (self.type == "category") != bool(self.categories):
            raise ValueError(f"{self.name}: a category needs categories, and no other type may have them")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError(f"{self.name}: a category is listed twice")

    @property
    def exact_quantum(self) -> Fraction:
        return Fraction(str(self.quantum))

    def accepted(self) -> str:
        """The accepted values, as public text."""
        if self.type == "boolean":
            return "true or false"
        if self.type == "category":
            return f"one of {', '.join(self.categories)}"
        assert self.range is not None
        article = "an integer" if self.type == "integer" else "a number"
        return f"{article} between {self.range[0]:g} and {self.range[1]:g}"


class Prior(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beta prior of the base rate: its mean, and its weight in trades."""

    mean: float
    strength: float

    def __post_init__(self) -> None:
        if not (0 < self.mean < 1 and self.strength > 0):
            raise ValueError("a prior needs a mean between 0 and 1 and a positive strength")

    def base_rate(self, wins: float, trades: float) -> float:
        """Posterior mean of the share of winners: (mean * strength + wins) / (strength + trades)."""
        return (self.mean * self.strength + wins) / (self.strength + trades)


class Strategy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named, versioned feature schema plus entry rules; the signal engine reads `entry`."""

    name: str
    version: int
    title: str
    symbols: tuple[str, ...]
    default: bool = False
    prior: Prior
    features: tuple[Feature, ...]
    entry: dict[str, Any] = {}

    def __post_init__(self) -> None:
        # The name is part of cache keys, model versions and schema names.
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name}: a strategy's name has lower-case letters, digits and underscores")
        if not self.symbols or len(set(self.symbols)) < len(self.symbols):
            raise ValueError("symbols: a strategy needs at least one symbol, and each only once")

    @property
    def modelled(self) -> tuple[Feature, ...]:
        """The features that are inputs of a model, in the order of MarketState.features."""
        return tuple(feature for feature in self.features if feature.modelled)

    @property
    def untrained_version(self) -> str:
        """The model version in answers before any model exists: the prior alone."""
        return f"{self.name}-untrained"


def is_strategy_name(text: str) -> bool:
    """Whether a signal's or a trade's strategy may have this name."""
    return len(text) <= _MAX_NAME and _NAME.fullmatch(text) is not None


def parse_strategy(text: str) -> Strategy:
    """The strategy in a TOML text; raises a ConfigurationError that says what is wrong with it."""
    try:
        raw = tomllib.loads(text)
        raw["features"] = [{"name": name, **declared} for name, declared in raw.get("features", {}).items()]
        return msgspec.convert(raw, Strategy)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, TypeError, ValueError) as error:
        raise ConfigurationError(f"A strategy file is wrong: {error}") from error


class StrategyCatalog(Mapping[str, Strategy]):
    """The strategies of this deployment by name, the default first."""

    def __init__(self, strategies: Iterable[Strategy]) -> None:
        """Raises ConfigurationError unless exactly one is the default and all names differ."""
        ordered = sorted(strategies, key=lambda strategy: not strategy.default)
        defaults = [strategy.name for strategy in ordered if strategy.default]
        if len(defaults) != 1:
            found = ", ".join(defaults) or "none"
            raise ConfigurationError(
                f"Exactly one strategy must have `default = true`; these have it: {found}."
            )
        self._by_name = {strategy.name: strategy for strategy in ordered}
        if len(self._by_name) < len(ordered):
            raise ConfigurationError("Two strategies have the same name.")
        self.default = ordered[0]
        symbols = (symbol for strategy in ordered for symbol in strategy.symbols)
        self.symbols: tuple[str, ...] = tuple(dict.fromkeys(symbols))

    # There is one catalog per process, so caches of derived values use its identity as the key.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __getitem__(self, name: str) -> Strategy:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)
