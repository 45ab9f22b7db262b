"""Metric names are one list, which every query of alerts and workbook keeps to."""

import re
from pathlib import Path

import pytest

from shared.metrics import METRICS, Count, MetricName
from tests.support.places import ROOT

QUERIES = sorted((ROOT / "infra").rglob("*.kql"))


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_reads_metrics_that_the_app_has(path: Path) -> None:
    read = set(re.findall(r"signal_cloud(?:\.\w+)+", path.read_text(encoding="utf-8")))
    assert read <= set(MetricName)


def test_every_name_is_described_once_and_no_count_is_reported_twice() -> None:
    assert sorted(metric.name for metric in METRICS) == sorted(MetricName)
    counts = [metric.count for metric in METRICS if metric.count is not None]
    assert len(set(counts)) == len(counts)
    assert set(counts) <= set(Count)
