"""What Application Insights and an OTLP file were told, as rows.

Azure's exporter sends envelopes; the workspace keeps them in one table for each kind. Which field ends in
which column is Azure Monitor's documented schema of these tables.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from loadtests.bench.ingestion import Ingestion

Columns = dict[str, Any]

_COMMON = {
    "OperationId": "ai.operation.id",
    "OperationName": "ai.operation.name",
    "ParentId": "ai.operation.parentId",
    "AppRoleName": "ai.cloud.role",
    "AppRoleInstance": "ai.cloud.roleInstance",
    "AppVersion": "ai.application.ver",
    "SDKVersion": "ai.internal.sdkVersion",
}


class Row(NamedTuple):
    """One row of a table of the workspace."""

    table: str
    columns: Columns

    @property
    def properties(self) -> dict[str, str]:
        found: dict[str, str] = self.columns["Properties"]
        return found


def all_rows(insights: Ingestion) -> list[Row]:
    return [_row(each.envelope) for each in list(insights.received)]


def _row(envelope: dict[str, Any]) -> Row:
    data = envelope["data"]["baseData"]
    tags = envelope["tags"]
    common: Columns = {column: tags[tag] for column, tag in _COMMON.items() if tag in tags}
    common |= {
        "TimeGenerated": envelope["time"],
        "Properties": data.get("properties") or {},
        "ItemCount": 100 / envelope.get("sampleRate", 100),
    }
    match envelope["data"]["baseType"]:
        case "RequestData":
            call = {"Url": data.get("url"), "ResultCode": data["responseCode"]}
            return Row("AppRequests", common | _timed(data) | call)
        case "RemoteDependencyData":
            call = {
                "DependencyType": data["type"],
                "Target": data.get("target"),
                "Data": data.get("data"),
                "ResultCode": data["resultCode"],
            }
            return Row("AppDependencies", common | _timed(data) | call)
        case "MetricData":
            (metric,) = data["metrics"]
            value = metric["value"]
            aggregate = {
                "Name": metric["name"],
                "Sum": value,
                "Min": metric.get("min", value),
                "Max": metric.get("max", value),
                "ItemCount": metric.get("count", 1),
            }
            return Row("AppMetrics", common | aggregate)
        case "ExceptionData":
            thrown = data["exceptions"][0]
            told = {"ExceptionType": thrown["typeName"], "OuterMessage": thrown["message"]}
            return Row("AppExceptions", common | told)
        case "MessageData":
            return Row("AppTraces", common | {"Message": data["message"]})
        case unknown:
            raise AssertionError(f"no table for {unknown}")


def _timed(data: dict[str, Any]) -> Columns:
    days, hours, minutes, seconds = re.split(r"[.:]", data["duration"], maxsplit=3)
    duration_ms = (((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)) * 1000
    return {"Id": data["id"], "Name": data["name"], "Success": data["success"], "DurationMs": duration_ms}


class OtlpSpan(NamedTuple):
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    is_error: bool


class OtlpFile:
    """The spans and metric points in a file of OTLP JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _lines(self) -> Iterator[dict[str, Any]]:
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)

    def spans(self) -> list[OtlpSpan]:
        return [
            OtlpSpan(
                span["name"],
                span["kind"],
                span["traceId"],
                span["spanId"],
                span.get("parentSpanId", ""),
                _attributes(span),
                span.get("status", {}).get("code") == 2,
            )
            for line in self._lines()
            for resource in line.get("resourceSpans", ())
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def metrics(self) -> dict[str, list[tuple[float, dict[str, str]]]]:
        """Every point of each metric: its value (of a histogram, its count) and its attributes."""
        found: dict[str, list[tuple[float, dict[str, str]]]] = {}
        for line in self._lines():
            for resource in line.get("resourceMetrics", ()):
                for scope in resource["scopeMetrics"]:
                    for metric in scope["metrics"]:
                        kind = next(kind for kind in ("sum", "gauge", "histogram") if kind in metric)
                        for point in metric[kind]["dataPoints"]:
                            value = float(point.get("asInt", point.get("asDouble", point.get("count", 0))))
                            found.setdefault(metric["name"], []).append((value, _attributes(point)))
        return found


def _attributes(holder: dict[str, Any]) -> dict[str, str]:
    return {each["key"]: str(next(iter(each["value"].values()))) for each in holder.get("attributes", ())}
