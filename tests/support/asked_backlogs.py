"""The parameters with which the plans of the queries about backlogs are shown."""

from typing import Any

FILL = ""
ASKED: dict[str, dict[str, Any]] = {"backlogs.payments": {}, "backlogs.notifications": {}}
NOT_EXPLAINED = {"backlogs.as_operator": "reads no table"}
JOBS: set[str] = set()
SMALL_TABLES: set[str] = set()
