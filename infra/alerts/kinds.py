"""Describes what an alert is: how urgent it is, what it watches, and what its message says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RUNBOOKS = "docs/operations.md"
_HERE = Path(__file__).parent

# Critical: bots cannot trade. Error: bots soon cannot trade, or get no signals. Warning: look today.
# Informational: no action at night.
Severity = Literal[0, 1, 2, 3]

# How urgent a message is. Wake: a person, now. Day: today. Note: in the team's chat.
Level = Literal["wake", "day", "note"]
_LEVELS: dict[Severity, Level] = {0: "wake", 1: "wake", 2: "day", 3: "note"}
# Money is no reason to wake anybody.
BUDGET_LEVEL: Level = "day"

Watched = Literal["app", "plan", "postgres", "redis", "webpubsub", "front_door", "slack", "pager"]
NAMESPACES: dict[Watched, str] = {
    "app": "Microsoft.Web/sites",
    "plan": "Microsoft.Web/serverfarms",
    "postgres": "Microsoft.DBforPostgreSQL/flexibleServers",
    "redis": "Microsoft.Cache/redisEnterprise",
    "webpubsub": "Microsoft.SignalRService/WebPubSub",
    "front_door": "Microsoft.Cdn/profiles",
    "slack": "Microsoft.Logic/workflows",
    "pager": "Microsoft.Logic/workflows",
}


@dataclass(frozen=True, slots=True)
class Alert:
    name: str
    severity: Severity
    says: str

    @property
    def runbook(self) -> str:
        return f"{RUNBOOKS}#{self.name}"

    @property
    def level(self) -> Level:
        return _LEVELS[self.severity]

    @property
    def properties(self) -> dict[str, str]:
        """Fields of every message that the alert sends."""
        return {"runbook": self.runbook}

    @property
    def description(self) -> str:
        return f"{self.says} Runbook: {self.runbook}"


@dataclass(frozen=True, slots=True)
class RuleAlert(Alert):
    """Azure evaluates it once per `frequency`, over the last `window`; both are ISO 8601 durations."""

    window: str
    frequency: str


@dataclass(frozen=True, slots=True)
class LogAlert(RuleAlert):
    """Fires when its query returns a row."""

    @property
    def query(self) -> str:
        return (_HERE / f"{self.name}.kql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class MetricAlert(RuleAlert):
    """Fires when a metric of an Azure service passes the threshold over the window."""

    watches: Watched
    metric: str
    aggregation: Literal["Average", "Maximum", "Total"]
    operator: Literal["GreaterThan", "LessThan"]
    threshold: float


@dataclass(frozen=True, slots=True)
class HealthAlert(Alert):
    """Fires when Azure reports the health of a resource as one of `states`.

    Azure sends one message for each change and none when the resource is healthy again. Such an alert has
    no severity in Azure.
    """

    watches: Watched
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """Fires when the month's actual or forecast cost reaches `percent` of the budget."""

    name: str
    says: str
    percent: int
    kind: Literal["Actual", "Forecasted"]
