"""Describes plans: what a license may do unless single values of it are overridden."""

import re
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from shared.domain.market.bars import is_symbol
from shared.domain.market.symbols import symbol_fault
from shared.domain.problems import Problems

STANDARD = "standard"

MAX_SYMBOLS = 100
MAX_STRATEGIES = 50
MAX_REQUESTS_PER_MINUTE = 100_000
_MAX_NAMED = 5
_MAX_PRICE = 1_000_000
_CURRENCY = re.compile(r"[A-Z]{3}")
_STRATEGY = re.compile(r"[a-z0-9_]{1,64}")

# The lowest and the highest value of each number.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "requests_per_minute": (1, MAX_REQUESTS_PER_MINUTE),
    "requests_per_second": (0, MAX_REQUESTS_PER_MINUTE),
    "license_requests_per_minute": (0, 1_000_000),
    "keys": (1, 100_000),
    "sessions": (1, 1_000),
    "connections": (1, 100_000),
    "signal_delay_s": (0, 86_400),
    "grace_days": (0, 90),
    "trades_per_day": (1, 10**9),
    "stored_trades": (1, 10**9),
    "stored_bytes": (1, 1024**4),
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one plan, or of one license: its plan's with the overrides of the license.

    `symbols` are those that it covers; `strategies` those whose confidences it covers, empty for all. Each
    key may make `requests_per_minute` in any 60 s and `requests_per_second` in any second (0: as many as the
    minute allows), and all keys together `license_requests_per_minute` (0: no such limit). `keys` are valid
    at once. `sessions` are places for running bots, each symbol; `session_required` refuses sockets without
    one. `connections` are open sockets. Signals reach the license `signal_delay_s` after they were published.
    After a failed payment it works for `grace_days`, which need not be whole. `price` is of a month, in
    `currency`.

    The others are of an account: new trades a UTC day, and everything that it has stored. `stored_bytes`
    counts the rows of trades as Postgres holds them, without indexes.
    """

    name: str
    title: str
    symbols: tuple[str, ...]
    strategies: tuple[str, ...]
    requests_per_minute: int
    requests_per_second: int
    license_requests_per_minute: int
    keys: int
    sessions: int
    session_required: bool
    connections: int
    signal_delay_s: int
    grace_days: float
    price: Decimal
    currency: str
    trades_per_day: int
    stored_trades: int
    stored_bytes: int


class Overrides(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The values of a license that differ from its plan's; None means the plan's."""

    symbols: tuple[str, ...] | None = None
    strategies: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    requests_per_second: int | None = None
    license_requests_per_minute: int | None = None
    keys: int | None = None
    sessions: int | None = None
    session_required: bool | None = None
    connections: int | None = None
    signal_delay_s: int | None = None
    grace_days: float | None = None
    price: Decimal | None = None
    currency: str | None = None
    trades_per_day: int | None = None
    stored_trades: int | None = None
    stored_bytes: int | None = None

    def given(self) -> dict[str, object]:
        """The values that are overridden, by name."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


NO_OVERRIDES = Overrides()


def with_overrides(plan: Plan, overrides: Overrides) -> Plan:
    """`plan` with the overridden values instead of its own."""
    return plan if overrides == NO_OVERRIDES else msgspec.structs.replace(plan, **overrides.given())


def check_values(values: Plan | Overrides, problems: Problems) -> None:
    """Adds each value that no plan and no license can have, under the name of its field."""
    for name, (low, high) in BOUNDS.items():
        value = getattr(values, name)
        if value is not None and not low <= value <= high:
            problems.add(name, "out_of_range", f"Expected from {low} to {high}.")
    _check_symbols(values.symbols, problems)
    strategies = values.strategies or ()
    if len(strategies) > MAX_STRATEGIES or not all(map(_STRATEGY.fullmatch, strategies)):
        message = f"Expected up to {MAX_STRATEGIES} names of strategies, or none for all."
        problems.add("strategies", "invalid_format", message)
    price = values.price
    if price is not None and not (price.is_finite() and 0 <= price <= _MAX_PRICE):
        problems.add("price", "out_of_range", f"Expected from 0 to {_MAX_PRICE}.")
    if values.currency is not None and not _CURRENCY.fullmatch(values.currency):
        problems.add("currency", "invalid_format", "Expected three capital letters, such as USD.")


def _check_symbols(symbols: tuple[str, ...] | None, problems: Problems) -> None:
    if symbols is None:
        return
    if not 1 <= len(symbols) <= MAX_SYMBOLS:
        problems.add("symbols", "out_of_range", f"Expected from 1 to {MAX_SYMBOLS} symbols.")
    bad = [symbol for symbol in symbols if not is_symbol(symbol)]
    if bad:
        problems.add("symbols", "invalid_format", " ".join(map(symbol_fault, bad[:_MAX_NAMED])))
