"""Builds the workbook for operators: what bots get, signals and trades, and the services in use.

Each query is in a .kql file beside this module.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.alerts.kinds import NAMESPACES, Watched
from infra.slo import read_levels

_HERE = Path(__file__).parent
_SCHEMA = "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json"
# Azure's numbers of kinds of items and queries.
_TEXT, _PARAMETERS, _QUERY, _METRICS = 1, 9, 3, 10
_LOGS = 0
_TIME_PARAMETER = 4
_WORKSPACE = "microsoft.operationalinsights/workspaces"

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """A query of this folder and its visualization; `width` is in percent of the page.

    `days` is what the query looks back, in place of the range that the page has.
    """

    query: str
    title: str
    visualization: str
    width: int = 50
    days: int | None = None

    @property
    def kql(self) -> str:
        return (_HERE / f"{self.query}.kql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class MetricPanel:
    """Metrics of one Azure resource, each with Azure's number of its aggregation."""

    title: str
    watches: Watched
    metrics: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    panels: tuple[Panel | MetricPanel, ...]


_TOTAL, _MAXIMUM, _AVERAGE = 1, 3, 4

_DAYS = read_levels().window_days

SECTIONS = (
    Section(
        "Service levels",
        (
            Panel("slo-budget", f"Error budgets of {_DAYS} days, in percent", "table", 100, days=_DAYS),
            Panel("slo-burn", "Burn rate per hour: 1 uses up the budget in time", "timechart"),
            Panel("slo-history", "Percentage of good events per day", "linechart", days=_DAYS),
        ),
    ),
    Section(
        "What bots get",
        (
            Panel("requests", "Requests and failed requests per minute", "timechart"),
            Panel("latency", "Duration of each route", "table"),
            Panel("confidence", "Confidences per minute: asked, cached, computed", "timechart"),
            Panel("refused", "Refused requests per minute, by code", "timechart"),
            Panel("availability", "Availability by test location", "table", 100),
        ),
    ),
    Section(
        "Signals and trades",
        (
            Panel("signals", "Signals published and trades written", "barchart"),
            Panel("publishing", "Seconds to send, and age of the oldest unsent message", "timechart"),
            Panel("waiting", "Messages that wait to be sent", "timechart"),
            Panel("notifications", "Notifications sent, parked, and with a lost answer", "barchart"),
            Panel("feeds", "Age of each symbol's bars", "table"),
            Panel("models", "Model versions and when they served", "table", 100),
        ),
    ),
    Section(
        "Services in use",
        (
            Panel("dependencies", "Calls to Redis, Postgres, Tables, Web PubSub", "table", 100),
            Panel("outages", "Signs of an unavailable service", "timechart", 100),
            MetricPanel(
                "Postgres",
                "postgres",
                (("cpu_percent", _AVERAGE), ("storage_percent", _AVERAGE), ("active_connections", _MAXIMUM)),
            ),
            MetricPanel(
                "Redis",
                "redis",
                (("usedmemorypercentage", _MAXIMUM), ("evictedkeys", _TOTAL), ("connectedclients", _MAXIMUM)),
            ),
            MetricPanel(
                "Web PubSub",
                "webpubsub",
                (
                    ("ConnectionQuotaUtilization", _MAXIMUM),
                    ("TotalConnectionCount", _MAXIMUM),
                    ("OutboundTraffic", _TOTAL),
                ),
            ),
            MetricPanel("App", "app", (("Requests", _TOTAL), ("Http5xx", _TOTAL))),
            Panel("volume", "Volume of logs, by table", "barchart", 100),
        ),
    ),
)


def workbook(workspace_id: str, watched: dict[Watched, str]) -> str:
    """The workbook as Azure stores it, without panels of resources that the stack does not have."""
    items: list[Item] = [_time_range()]
    for section in SECTIONS:
        items.append({"type": _TEXT, "content": {"json": f"## {section.title}"}, "name": section.title})
        for panel in section.panels:
            if isinstance(panel, Panel):
                items.append(_query_item(panel, workspace_id))
            elif panel.watches in watched:
                items.append(_metric_item(panel, watched[panel.watches]))
    document = {
        "version": "Notebook/1.0",
        "items": items,
        "fallbackResourceIds": [workspace_id],
        "$schema": _SCHEMA,
    }
    return json.dumps(document, sort_keys=True)


def _time_range() -> Item:
    hours = (1, 4, 12, 24, 48, 24 * 7)
    return {
        "type": _PARAMETERS,
        "name": "time range",
        "content": {
            "version": "KqlParameterItem/1.0",
            "style": "pills",
            "parameters": [
                {
                    "id": "5b8bd4b0-9a31-4a32-8a3a-3c8b6c5a1a10",
                    "version": "KqlParameterItem/1.0",
                    "name": "TimeRange",
                    "label": "Time range",
                    "type": _TIME_PARAMETER,
                    "isRequired": True,
                    "value": {"durationMs": 24 * 3_600_000},
                    "typeSettings": {
                        "selectableValues": [{"durationMs": each * 3_600_000} for each in hours],
                        "allowCustom": True,
                    },
                }
            ],
        },
    }


def _query_item(panel: Panel, workspace_id: str) -> Item:
    return {
        "type": _QUERY,
        "name": panel.query,
        "customWidth": str(panel.width),
        "content": {
            "version": "KqlItem/1.0",
            "query": panel.kql,
            "size": 0,
            "title": panel.title,
            **_time_of(panel),
            "queryType": _LOGS,
            "resourceType": _WORKSPACE,
            "crossComponentResources": [workspace_id],
            "visualization": panel.visualization,
        },
    }


def _time_of(panel: Panel) -> Item:
    if panel.days is None:
        return {"timeContextFromParameter": "TimeRange"}
    return {"timeContext": {"durationMs": panel.days * 24 * 3_600_000}}


def _metric_item(panel: MetricPanel, resource_id: str) -> Item:
    namespace = NAMESPACES[panel.watches].lower()
    return {
        "type": _METRICS,
        "name": panel.title,
        "customWidth": "50",
        "content": {
            "version": "MetricsItem/2.0",
            "chartId": f"chart-{panel.watches}",
            "chartType": 2,
            "size": 0,
            "title": panel.title,
            "metricScope": 0,
            "resourceType": namespace,
            "resourceIds": [resource_id],
            "timeContextFromParameter": "TimeRange",
            "metrics": [
                {"namespace": namespace, "metric": f"{namespace}--{metric}", "aggregation": aggregation}
                for metric, aggregation in panel.metrics
            ],
        },
    }
