"""Reads the service levels, and builds the queries of their alerts and of their part of the workbook.

`slo.toml` is the table. `python -m infra.slo` writes the queries as .kql files, so that a change of a level
is reviewed as what Azure will run, and tests run them like all others.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SLO_FILE = Path(__file__).with_name("slo.toml")
# Azure's names of the lengths of time that the pairs use.
_ISO = {"1h": "PT1H", "6h": "PT6H", "1d": "P1D", "2d": "P2D"}
_MINUTES = {"m": 1, "h": 60, "d": 24 * 60}


def minutes(length: str) -> int:
    """The minutes of a length of time as Kusto writes it, such as `6h`."""
    return int(length[:-1]) * _MINUTES[length[-1]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two windows that must both use up the budget at over `burn` times the planned rate."""

    long: str
    short: str
    burn: float


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """An alert that every level has."""

    name: str
    severity: Literal[1, 2]
    frequency: str
    pairs: tuple[Pair, ...]

    @property
    def window(self) -> str:
        """What the query looks back: the longest window, as ISO 8601."""
        return _ISO[max((pair.long for pair in self.pairs), key=minutes)]

    @property
    def lowest_burn(self) -> float:
        return min(pair.burn for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Level:
    """A promise: `objective` percent of events are good, over the window of all levels."""

    name: str
    title: str
    promise: str
    objective: float
    bad: str
    minimum: int
    measured: str

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.objective / 100, 6)


@dataclass(frozen=True, slots=True)
class ServiceLevels:
    window_days: int
    alerts: tuple[BurnAlert, ...]
    levels: tuple[Level, ...]


def read_levels(path: Path = SLO_FILE) -> ServiceLevels:
    """The table of service levels; raises KeyError or TypeError for a field that is missing or unknown."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    alerts = tuple(
        BurnAlert(name, given["severity"], given["frequency"], tuple(Pair(**pair) for pair in given["pairs"]))
        for name, given in table["alerts"].items()
    )
    levels = tuple(Level(name, **given) for name, given in table["levels"].items())
    return ServiceLevels(table["window_days"], alerts, levels)


def alert_name(level: Level, alert: BurnAlert) -> str:
    return f"slo-{level.name}-{alert.name}"


def alert_text(levels: ServiceLevels, level: Level, alert: BurnAlert) -> str:
    """One sentence that says how soon the budget would be used up."""
    days = math.ceil(levels.window_days / alert.lowest_burn)
    return f"{level.bad} use up the error budget of {levels.window_days} days in less than {days} days."


def alert_query(level: Level, alert: BurnAlert) -> str:
    """Returns a row if a pair of windows burns too fast, with the burn rate of each window."""
    windows = sorted({each for pair in alert.pairs for each in (pair.long, pair.short)}, key=minutes)
    sums = ",\n".join(
        f"    Total{window} = sumif(Total, TimeGenerated > ago({window})),\n"
        f"    Bad{window} = sumif(Bad, TimeGenerated > ago({window}))"
        for window in windows
    )
    burns = ",\n".join(
        f"    Burn{window} = iff(Total{window} > 0, Bad{window} / Total{window} / {level.budget}, 0.0)"
        for window in windows
    )
    conditions = "\n    or ".join(
        f"(Total{pair.long} >= {level.minimum} and Burn{pair.long} > {pair.burn} "
        f"and Burn{pair.short} > {pair.burn})"
        for pair in alert.pairs
    )
    columns = ", ".join(f"Burn{window}" for window in windows)
    return (
        f"// {_WRITTEN}\n// Objective, for {level.objective:g}%: {level.promise}.\n"
        f"{level.measured.strip()}\n| summarize\n{sums}\n| extend\n{burns}\n"
        f"| where {conditions}\n| project {columns}\n"
    )


_WRITTEN = "Written by `python -m infra.slo` from slo.toml."


def workbook_queries(levels: ServiceLevels) -> dict[str, str]:
    """The queries of the workbook's part on service levels, by name."""
    head = f"// {_WRITTEN}\n{_all_levels(levels)}"
    share = "Bad / Total"
    return {
        "slo-budget": (
            f"{head}| summarize Total = sum(Total), Bad = sum(Bad) by Level, Objective\n"
            f"| where Total > 0\n"
            f"| project\n    Level, Objective, Total, Bad,\n"
            f"    Measured = 100.0 - 100.0 * {share},\n"
            f"    BudgetLeft = 100.0 - 100.0 * 100.0 * {share} / (100.0 - Objective)\n"
            "| order by Level asc\n"
        ),
        "slo-burn": (
            f"{head}| summarize Total = sum(Total), Bad = sum(Bad) "
            "by Level, Objective, TimeGenerated = bin(TimeGenerated, 1h)\n"
            f"| where Total > 0\n"
            f"| project TimeGenerated, Level, Burn = 100.0 * {share} / (100.0 - Objective)\n"
        ),
        "slo-history": (
            f"{head}| summarize Total = sum(Total), Bad = sum(Bad) "
            "by Level, TimeGenerated = bin(TimeGenerated, 1d)\n"
            f"| where Total > 0\n"
            f"| project TimeGenerated, Level, Measured = 100.0 - 100.0 * {share}\n"
        ),
    }


def _all_levels(levels: ServiceLevels) -> str:
    parts = []
    for level in levels.levels:
        query = level.measured.strip().replace("\n", "\n    ")
        named = f'| extend Level = "{level.title}", Objective = {float(level.objective)}'
        parts.append(f"    ({query}\n    {named})")
    return "union\n" + ",\n".join(parts) + "\n"


def query_files(levels: ServiceLevels, infra: Path) -> Mapping[Path, str]:
    """What `python -m infra.slo` writes: each file with its text."""
    alerts = {
        infra / "alerts" / f"{alert_name(level, alert)}.kql": alert_query(level, alert)
        for level in levels.levels
        for alert in levels.alerts
    }
    panels = workbook_queries(levels)
    return alerts | {infra / "workbook" / f"{name}.kql": text for name, text in panels.items()}
