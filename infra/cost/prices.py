"""Reads the table of prices and the figures of the load, and reports every incomplete entry."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

PRICES_FILE = Path(__file__).resolve().parent / "prices.toml"
LOAD_FILE = PRICES_FILE.with_name("load.toml")
UNVERIFIED = "unverified, from general knowledge, check before you rely on it"


class CannotEstimate(Exception):
    """The estimate lacks prices or figures; the text names each, one a line."""


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a price. `verified` is false if no published list confirms it."""

    name: str
    says: str
    date: date
    verified: bool


@dataclass(frozen=True, slots=True)
class Price:
    """USD for `per` units; `free` units of each month are not charged for."""

    key: str
    usd: float
    per: int
    unit: str
    source: Source
    note: str
    free: float

    def cost(self, quantity: float) -> float:
        """USD for `quantity` units in a month."""
        return max(0.0, quantity - self.free) * self.usd / self.per


@dataclass(frozen=True, slots=True)
class PriceTable:
    """`regions` are those that the prices apply to."""

    regions: tuple[str, ...]
    prices: Mapping[str, Price]

    def price(self, key: str) -> Price:
        """The price of a key; raises CannotEstimate if the table has none."""
        try:
            return self.prices[key]
        except KeyError:
            raise CannotEstimate(f"no price for {key}: add it to infra/cost/{PRICES_FILE.name}") from None


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the load. `how` names the command that measured it, or the reason for an assumption."""

    name: str
    value: float
    unit: str
    how: str
    measured: bool


@dataclass(frozen=True, slots=True)
class Purpose:
    """Number of bots that a stack is for, and the cost of a month in the customer's notes, if they have it.

    `run_hours` is how long a stack exists that is made and destroyed again; 0 for all others.
    """

    users: int
    customer_usd: int | None = None
    run_hours: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """Measured and assumed figures of the load, and the purposes of the stacks."""

    figures: Mapping[str, Figure]
    purposes: Mapping[str, Purpose]

    def __getitem__(self, name: str) -> float:
        return self.figures[name].value

    def changed(self, **values: float) -> "Load":
        """The load with other values for some figures, as given on the command line."""
        given = {
            name: Figure(name, value, self.figures[name].unit, "given on the command line", measured=False)
            for name, value in values.items()
        }
        return Load({**self.figures, **given}, self.purposes)


def read_prices(path: Path = PRICES_FILE) -> PriceTable:
    """The price table; raises CannotEstimate that names every incomplete entry."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    problems: list[str] = []
    sources: dict[str, Source] = {}
    for name, entry in document["sources"].items():
        if not (entry.get("says") and isinstance(entry.get("date"), date)):
            problems.append(f"{path.name}: source {name} needs `says` and a `date`")
            continue
        sources[name] = Source(name, entry["says"], entry["date"], entry.get("verified", True))
    prices: dict[str, Price] = {}
    for key, entry in document["prices"].items():
        wrong = _wrong(entry, sources)
        if wrong:
            problems.append(f"{path.name}: {key} {wrong}")
            continue
        prices[key] = Price(
            key=key,
            usd=float(entry["usd"]),
            per=entry.get("per", 1),
            unit=entry["unit"],
            source=sources[entry["source"]],
            note=entry.get("note", ""),
            free=float(entry.get("free", 0)),
        )
    if problems:
        raise CannotEstimate("\n".join(problems))
    return PriceTable(tuple(document["regions"]), prices)


def _wrong(entry: Mapping[str, Any], sources: Mapping[str, Source]) -> str:
    """The problem of an entry, empty if there is none."""
    if not isinstance(entry.get("usd"), int | float) or entry["usd"] < 0:
        return "needs `usd`, a number of 0 or more"
    if not entry.get("unit"):
        return "needs a `unit`"
    if entry.get("source") not in sources:
        return f"must name a source of [sources], got {entry.get('source')!r}"
    return ""


def read_load(path: Path = LOAD_FILE) -> Load:
    """The measured and the assumed figures."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    figures = {
        name: Figure(name, float(entry["value"]), entry["unit"], entry["how"], measured=kind == "measured")
        for kind in ("measured", "assumed")
        for name, entry in document[kind].items()
    }
    purposes = {
        stack: Purpose(entry["users"], entry.get("customer_usd"), entry.get("run_hours", 0))
        for stack, entry in document["stacks"].items()
    }
    return Load(figures, purposes)
