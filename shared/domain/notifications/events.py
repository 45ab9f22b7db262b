"""Describes the events that somebody may be notified of."""

from datetime import datetime
from typing import Literal

import msgspec

EventKind = Literal[
    "signal_published",
    "license_created",
    "license_extended",
    "license_changed",
    "license_expiring",
    "license_expired",
    "license_suspended",
    "license_resumed",
    "license_revoked",
    "payment_failed",
    "claim_requested",
    "key_rotated",
    "session_taken_over",
    "feed_stale",
    "model_promoted",
    "model_retired",
    "daily_summary",
    "notification_parked",
    "payment_parked",
    "test",
]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened at `at`; the same `event_id` is the same event, however often it is reported.

    An event of a customer names the account, and the license if it concerns one. `values` are what its
    templates show; none of them is a secret.
    """

    event_id: str
    kind: EventKind
    at: datetime
    account_id: str | None = None
    license_id: str | None = None
    values: dict[str, str | int | float | None] = {}
