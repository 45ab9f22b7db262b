"""What a running stack tells of itself: to a file of OTLP lines, and to Application Insights the same."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.telemetry import METRICS
from tests.e2e.ingestion import OtlpSpan, Row
from tests.e2e.watched_stack import CALLER_SPAN_ID, TRACE_ID, Watched, watched_stack

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
    assert totals["signal_cloud.license_store.errors"] == 1
    assert totals["signal_cloud.requests.failed"] == 1
    assert totals["signal_cloud.signals.published"] == 1
    assert totals["signal_cloud.trades.written"] == 1
    assert totals["signal_cloud.publish.latency"] == 1
    refused = {attributes["code"] for _, attributes in sent["signal_cloud.requests.refused"]}
    assert refused == {"scope_missing", "key_missing"}
    assert {attributes["symbol"] for _, attributes in sent["signal_cloud.bars.age"]} == {"ES"}
    assert {tuple(sorted(attributes)) for _, attributes in sent["signal_cloud.model.in_use"]} == {
        ("basis", "strategy", "version")
    }


def test_application_insights_gets_what_the_file_gets(watched: Watched) -> None:
    rows = watched.insights.rows()
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
    assert {"admit", "signals.insert_signal", "outbox.unsent", "send_to_group", "commit"} <= names
    assert {call.kind for call in calls} == {CLIENT}


def test_a_failure_says_where_it_came_from(watched: Watched) -> None:
    asked, calls = request(watched, "GET /api/license")
    assert asked.is_error
    assert asked.attributes["signal_cloud.code"] == "key_store_unavailable"
    failed = [call for call in calls if call.is_error]
    assert systems(failed) == {"azure_tables"}


def rows(watched: Watched, table: str) -> list[Row]:
    return [row for row in watched.insights.rows() if row.table == table]


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
