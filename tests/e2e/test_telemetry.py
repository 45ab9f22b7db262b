"""What a running stack tells of itself: to a file of OTLP lines, and to Application Insights the same.

Every name in the queries of alerts and workbook is held against that.
"""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import azure.functions as func
import pytest

from infra.slo import read_levels
from loadtests.bench.ingestion import ingestion
from shared import telemetry
from shared.adapters.open_telemetry import OpenTelemetry, azure_exporters
from shared.domain.confidence.models import Basis
from shared.domain.market.feeds import FeedHealth
from shared.metrics import METRICS
from tests.infra.alerts.kusto_queries import PLATFORM_TABLES, TABLES, Parsed, ask, parsed, queries, workspace
from tests.support.strategies import STRATEGIES
from tests.support.telemetry_rows import OtlpSpan, Row, all_rows
from tests.support.watched_stack import CALLER_SPAN_ID, EXPORTER_ALONE, TRACE_ID, Watched, watched_stack

SERVER, CLIENT = 2, 3


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    made = Path(tempfile.mkdtemp(prefix="signal-cloud-watched-"))
    made.chmod(0o711)
    try:
        with watched_stack(made / "state") as found:
            yield found
    finally:
        shutil.rmtree(made, ignore_errors=True)


def request(watched: Watched, name: str) -> tuple[OtlpSpan, list[OtlpSpan]]:
    """The first request of that name, and the calls that it waited for."""
    spans = watched.file.spans()
    found = next(span for span in spans if span.kind == SERVER and span.name == name)
    return found, [span for span in spans if span.parent_id == found.span_id]


def systems(spans: list[OtlpSpan]) -> set[str]:
    return {span.attributes.get("db.system.name") or span.attributes["messaging.system"] for span in spans}


def test_every_metric_was_sent_to_both_with_what_happened(watched: Watched) -> None:
    sent = watched.file.metrics()
    assert set(sent) == {metric.name for metric in METRICS}
    totals = {name: sum(value for value, _ in points) for name, points in sent.items()}
    assert totals["signal_cloud.confidence.asked"] == 3
    assert totals["signal_cloud.confidence.cached"] == 1
    assert totals["signal_cloud.confidence.computed"] == 2
    assert totals["signal_cloud.limiter.open"] == 1
    # The request of the unknown key; the list of recent endings and an export, if their time came just then.
    assert totals["signal_cloud.license_store.errors"] in (1, 2, 3)
    assert totals["signal_cloud.requests.failed"] == 1
    assert totals["signal_cloud.signals.published"] == 1
    assert totals["signal_cloud.trades.written"] == 1
    assert totals["signal_cloud.publish.latency"] == 1
    refused = {attributes["code"] for _, attributes in sent["signal_cloud.requests.refused"]}
    assert refused == {"scope_missing", "key_missing", "connections_exceeded"}
    assert totals["signal_cloud.connections.exceeded"] == 1
    assert totals["signal_cloud.connections.uncounted"] == 1
    assert {attributes["symbol"] for _, attributes in sent["signal_cloud.bars.age"]} == {"ES"}
    assert {tuple(sorted(attributes)) for _, attributes in sent["signal_cloud.model.in_use"]} == {
        ("basis", "strategy", "version")
    }


def test_application_insights_gets_what_the_file_gets(watched: Watched) -> None:
    rows = all_rows(watched.insights)
    metrics = {row.columns["Name"]: row for row in rows if row.table == "AppMetrics"}
    for name, points in watched.file.metrics().items():
        assert set(metrics[name].properties) == set(points[0][1]), name
    spans = {(span.span_id, span.name) for span in watched.file.spans()}
    calls = [row.columns for row in rows if row.table in ("AppRequests", "AppDependencies")]
    assert {(columns["Id"], columns["Name"]) for columns in calls} == spans
    assert {row.columns["AppRoleName"] for row in rows} == {"signal-cloud"}


def test_a_trace_goes_on_from_the_caller_whose_own_sampling_decides_nothing(watched: Watched) -> None:
    asked, calls = request(watched, "POST /api/ml/get_confidence")
    assert (asked.trace_id, asked.parent_id) == (TRACE_ID, CALLER_SPAN_ID)
    assert asked.attributes["signal_cloud.request_id"] == "watched-1"
    assert systems(calls) >= {"redis"}
    assert {call.trace_id for call in calls} == {TRACE_ID}


def test_a_signal_is_traced_through_redis_postgres_and_web_pubsub(watched: Watched) -> None:
    asked, calls = request(watched, "POST /api/signals")
    assert asked.attributes["http.response.status_code"] == "201"
    assert systems(calls) >= {"redis", "postgresql", "webpubsub"}
    names = {call.name for call in calls}
    assert {"take_requests", "signals.insert_signal", "outbox.unsent", "send_to_group", "commit"} <= names
    assert {call.kind for call in calls} == {CLIENT}


def test_a_failure_says_where_it_came_from(watched: Watched) -> None:
    asked, calls = request(watched, "GET /api/license")
    assert asked.is_error
    assert asked.attributes["signal_cloud.code"] == "key_store_unavailable"
    failed = [call for call in calls if call.is_error]
    assert systems(failed) == {"azure_tables"}


def rows(watched: Watched, table: str) -> list[Row]:
    return [row for row in all_rows(watched.insights) if row.table == table]


def test_requests_arrive_as_an_operator_would_look_for_them(watched: Watched) -> None:
    found = [
        row.columns
        for row in rows(watched, "AppRequests")
        if row.columns["Name"] == "POST /api/ml/get_confidence"
    ]
    assert {columns["OperationId"] for columns in found} >= {TRACE_ID}
    assert all(columns["Success"] and columns["ResultCode"] == "200" for columns in found)
    assert all(0 <= columns["DurationMs"] < 10_000 for columns in found)
    kinds = {row.columns["DependencyType"] for row in rows(watched, "AppDependencies")}
    assert kinds == {"redis", "postgresql", "azure_tables", "webpubsub"}


@pytest.fixture(scope="module")
def defect() -> list[Row]:
    """What Azure's exporter sends of a request that a defect ended; the stack has none to offer."""
    with pytest.MonkeyPatch.context() as patch, ingestion() as insights:
        for name, value in EXPORTER_ALONE.items():
            patch.setenv(name, value)
        exporters = azure_exporters(insights.connection_string, "")
        sdk = OpenTelemetry([exporters], observe=lambda name: [])
        patch.setattr(telemetry, "_tracer", sdk.traces.get_tracer(telemetry.SERVICE))
        telemetry.sample(1.0)
        try:
            span = telemetry.begin(func.HttpRequest(method="GET", url="http://h/api/x", body=b""))
            assert span is not None
            span.record_exception(KeyError("defect"))
            telemetry.end(span, "request-1", 500, "internal")
        finally:
            telemetry.sample(0.0)
        sdk.close()
        return all_rows(insights)


def test_a_defect_arrives_with_its_request(defect: list[Row]) -> None:
    tables = {row.table: row.columns for row in defect}
    assert tables["AppRequests"]["Success"] is False
    assert tables["AppExceptions"]["ExceptionType"] == "KeyError"
    assert tables["AppExceptions"]["OperationId"] == tables["AppRequests"]["OperationId"]


@pytest.fixture(scope="module")
def read(watched: Watched, defect: list[Row]) -> dict[str, Parsed]:
    """What Microsoft's parser says of every query, knowing only the columns that were really sent."""
    sent: dict[str, set[str]] = {}
    for row in (*all_rows(watched.insights), *defect):
        # A property that is empty everywhere would be a name for nothing.
        sent.setdefault(row.table, set()).update(
            name for name, value in row.columns.items() if value is not None
        )
    schema = {
        table: {name: kind for name, kind in columns.items() if name in sent.get(table, ())}
        for table, columns in TABLES.items()
        if table not in PLATFORM_TABLES
    }
    schema |= {table: dict(TABLES[table]) for table in PLATFORM_TABLES}
    return parsed(schema, queries())


def test_queries_name_only_tables_and_columns_that_are_filled(read: dict[str, Parsed]) -> None:
    wrong = {name: said.problems for name, said in read.items() if said.problems}
    assert not wrong


def test_queries_name_only_metrics_that_are_sent(watched: Watched, read: dict[str, Parsed]) -> None:
    sent = set(watched.file.metrics())
    named = {text for said in read.values() for text in said.texts if text.startswith("signal_cloud.")}
    assert named <= sent, named - sent
    # And the other way round: nothing is measured that nobody looks at.
    assert named == sent


def test_queries_look_only_for_properties_that_the_metrics_have(
    watched: Watched, read: dict[str, Parsed]
) -> None:
    sent = watched.file.metrics()
    looked = 0
    for name, said in read.items():
        metrics = [text for text in said.texts if text.startswith("signal_cloud.")]
        has = {key for metric in metrics for _, attributes in sent[metric] for key in attributes}
        assert set(said.properties) <= has, name
        looked += len(said.properties)
    assert looked > 8


def test_queries_compare_with_values_that_occur(watched: Watched, read: dict[str, Parsed]) -> None:
    """Each other text of a query is one that was sent, or one that the code may send."""
    sent = {str(value) for row in all_rows(watched.insights) for value in row.columns.values()}
    possible = {*get_args(get_type_hints(FeedHealth)["state"]), *get_args(Basis)}
    # A time zone, the beginning of names that occur, what Azure itself writes, and the names of lines.
    other = {"America/New_York", "GET /api/health", "Ingestion", "OverQuota"}
    other |= {level.title for level in read_levels().levels}
    texts = {text for said in read.values() for text in said.texts}
    compared = {text for text in texts if not text.startswith("signal_cloud.")}
    assert compared <= sent | possible | other, compared - sent - possible - other


def stored(row: Row) -> tuple[str, dict[str, Any]]:
    """A row as the workspace keeps it, of the columns that queries may use."""
    columns = {name: value for name, value in row.columns.items() if name in TABLES[row.table]}
    at = datetime.fromisoformat(columns.pop("TimeGenerated"))
    return row.table, {"TimeGenerated": at.replace(tzinfo=None), **columns}


def test_panels_show_what_happened(watched: Watched) -> None:
    sent = [stored(row) for row in all_rows(watched.insights)]
    with workspace(sent) as connection:
        answers = {name: ask(connection, text) for name, text in queries().items()}
    latency = {row["Name"]: row for row in answers["workbook/latency"]}
    assert latency["POST /api/ml/get_confidence"]["Requests"] == 3
    assert latency["GET /api/license"]["Failed"] == 1
    called = {row["DependencyType"] for row in answers["workbook/dependencies"]}
    assert called == {"redis", "postgresql", "azure_tables", "webpubsub"}
    assert {row["Symbol"] for row in answers["workbook/feeds"]} == {"ES"}
    assert {row["Strategy"] for row in answers["workbook/models"]} == set(STRATEGIES)
    refused = {row["Code"]: row["Requests"] for row in answers["workbook/refused"] if row["Requests"]}
    assert refused == {"scope_missing": 1, "key_missing": 1, "connections_exceeded": 1}
    # All was well but for the jump, and for one failure, too few for anybody to be called.
    fired = {name for name, rows in answers.items() if name.startswith("alerts/") and rows}
    # The one bar is old, and New York may be trading.
    assert fired - {"alerts/signals-not-flowing"} == {"alerts/training-frozen", "alerts/bars-quarantined"}
