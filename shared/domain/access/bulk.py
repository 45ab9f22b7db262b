"""Decides what a bulk action does to one license."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec

from shared.domain.access.license_changes import extended, resumed, revoked, suspended, with_plan
from shared.domain.access.license_filter import LicenseFilter
from shared.domain.access.licenses import License
from shared.domain.problems import Problems

MAX_EXTENSION_DAYS = 3_660
MAX_JUDGED = 10_000
MAX_CHANGED = 500

BulkAction = Literal["extend", "plan", "suspend", "resume", "revoke"]
# The action's name in the audit log.
REASONS: dict[BulkAction, str] = {
    "extend": "license extended",
    "plan": "license plan changed",
    "suspend": "license suspended",
    "resume": "license resumed",
    "revoke": "license revoked",
}
_SHOWN = ("plan", "status", "suspended_by", "expires_at", "grace_until")

type Change = Callable[[License], License]
type Value = str | None


class BulkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One action on every license that a filter selects, a page at a time, in order of license id.

    `extend` takes `days` or `until`, and `plan` takes `plan`. Without `dry_run: false` nothing changes.
    """

    filter: LicenseFilter
    action: BulkAction
    days: Annotated[int, msgspec.Meta(ge=1, le=MAX_EXTENSION_DAYS)] | None = None
    until: datetime | None = None
    plan: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    dry_run: bool = True
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_JUDGED)] | None = None
    cursor: Annotated[str, msgspec.Meta(max_length=512)] | None = None

    @property
    def most(self) -> int:
        """The licenses of one call: fewer if they are changed, because each takes several calls."""
        largest = MAX_JUDGED if self.dry_run else MAX_CHANGED
        return min(self.limit or largest, largest)


def check_bulk(asked: BulkRequest, problems: Problems) -> None:
    """Adds what is missing for the action, or does not belong to it; plans are checked by their owner."""
    if asked.filter.is_empty:
        problems.add("filter", "missing", "Name at least one value, so that not every license is changed.")
    is_extension = asked.action == "extend"
    if is_extension and (asked.days is None) == (asked.until is None):
        problems.add("days", "missing", "To extend, send either days or until.")
    if not is_extension and (asked.days is not None or asked.until is not None):
        problems.add("days", "unknown_field", "Only the action extend takes days or until.")
    if (asked.action == "plan") != (asked.plan is not None):
        message = "The action plan takes the name of a plan, and no other does."
        problems.add("plan", "unknown_field" if asked.plan is not None else "missing", message)
    if asked.until is not None and asked.until.tzinfo is None:
        problems.add("until", "invalid_format", "Expected a time with its offset.")


def change_of(asked: BulkRequest, now: datetime) -> Change:
    """What the action does to a license; it raises Conflict if it cannot be done."""
    match asked.action:
        case "extend":
            until = timedelta(days=asked.days) if asked.days is not None else asked.until
            assert until is not None
            return lambda license_: extended(license_, until, now)
        case "plan":
            plan = asked.plan
            assert plan is not None
            return lambda license_: with_plan(license_, plan)
        case "suspend":
            return suspended
        case "resume":
            return resumed
        case "revoke":
            return revoked


def differences(before: License, after: License) -> dict[str, list[Value]]:
    """What a change does, by field: the value before and the value after."""
    found: dict[str, list[Value]] = {}
    for name in _SHOWN:
        former, later = _text(getattr(before, name)), _text(getattr(after, name))
        if former != later:
            found[name] = [former, later]
    return found


def _text(value: str | datetime | None) -> Value:
    return value.isoformat() if isinstance(value, datetime) else value
