"""The workbook as recorded: its panels, its queries, and the values that each query reports."""

import json
import re

import pytest

from infra.alerts import LOG_ALERTS, SLO_ALERTS
from infra.offline.recording import Recording
from infra.workbook import SECTIONS, MetricPanel, Panel
from tests.infra.alerts.azure_metrics import DOCUMENTED
from tests.infra.alerts.kusto_queries import queries
from tests.infra.recording import VARIANTS, recorded

WORKSPACE = "Microsoft.OperationalInsights/workspaces"


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def test_the_workbook_shows_every_panel_that_the_stack_has(stack: Recording) -> None:
    resource = stack.only("Microsoft.Insights/workbooks")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", resource.inputs["resourceName"])
    workspace = stack.only(WORKSPACE).id
    assert resource.inputs["sourceId"] == workspace
    document = json.loads(resource.inputs["serializedData"])
    assert document["version"] == "Notebook/1.0"
    items = document["items"]
    assert len({item["name"] for item in items}) == len(items)
    shown = {item["name"]: item["content"] for item in items if item["type"] == 3}
    panels = [panel for section in SECTIONS for panel in section.panels]
    assert set(shown) == {panel.query for panel in panels if isinstance(panel, Panel)}
    for name, content in shown.items():
        assert content["query"] == queries()[f"workbook/{name}"]
        assert content["crossComponentResources"] == [workspace]
        ranges = {"slo-budget": 28, "slo-history": 28}
        if name in ranges:
            assert content["timeContext"] == {"durationMs": ranges[name] * 86_400_000}
            assert stack.settings.monitoring.log_retention_days >= ranges[name], (
                "Azure keeps what it asks for"
            )
        else:
            assert content["timeContextFromParameter"] == "TimeRange"
    charts = [item["content"] for item in items if item["type"] == 10]
    assert {chart["title"] for chart in charts} == {
        panel.title for panel in panels if isinstance(panel, MetricPanel)
    }
    for chart in charts:
        (watched,) = chart["resourceIds"]
        assert stack.by_id(watched).type.lower() == chart["resourceType"]
        for metric in chart["metrics"]:
            namespace, _, metric_name = metric["metric"].partition("--")
            documented = {name.lower(): known for name, known in DOCUMENTED.items()}[namespace]
            aggregation = {1: "Total", 3: "Maximum", 4: "Average"}[metric["aggregation"]]
            assert aggregation in documented[metric_name]


def test_every_query_file_is_used() -> None:
    panels = [panel for section in SECTIONS for panel in section.panels if isinstance(panel, Panel)]
    assert set(queries()) == {f"alerts/{alert.name}" for alert in (*LOG_ALERTS, *SLO_ALERTS)} | {
        f"workbook/{panel.query}" for panel in panels
    }
