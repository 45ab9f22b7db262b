"""The data and the parameters with which the plans of the queries about notifications are shown."""

from typing import Any

from psycopg.types.json import Jsonb

FILL = ""
ASKED: dict[str, dict[str, Any]] = {
    "notifications.add": {
        "event_ids": ["event-1"],
        "kinds": ["test"],
        "ats": ["2026-03-02"],
        "account_ids": [None],
        "license_ids": [None],
        "shown": [Jsonb({})],
    },
}
JOBS: set[str] = set()
NOT_EXPLAINED: dict[str, str] = {}
SMALL_TABLES: set[str] = set()
