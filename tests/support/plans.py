"""Reads plans of EXPLAIN."""

from collections.abc import Iterator
from typing import Any


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node and all nodes below it."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)
