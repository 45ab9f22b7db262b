"""Decides which events a stored change of a license is, and which warnings come before it expires."""

from datetime import UTC, datetime, timedelta
from operator import attrgetter

import msgspec

from shared.domain.access.licenses import License, LicenseStatus, SuspendedBy
from shared.domain.access.plans import Plan
from shared.domain.access.test_licenses import is_test
from shared.domain.notifications.events import Event, EventKind

# A license that the list meets for the first time is new only if it was made so lately. Otherwise the list
# itself is new, or was restored, and nobody should be told that old licenses were created.
NEW_FOR = timedelta(days=1)
# Why a license gives no access, by its status and by what ended it, as its holder is told.
_REASONS: dict[tuple[LicenseStatus, SuspendedBy], str] = {
    ("suspended", "payment"): "a payment failed. It works again as soon as it is paid",
    ("suspended", "operator"): "an operator suspended it. It works again when an operator resumes it",
    ("revoked", "payment"): "a payment was refunded or disputed. It works again after the next payment, or "
    "if the dispute is won",
    ("revoked", "operator"): "an operator ended it for good",
}
# What a holder or a role at Discord follows, beside the ends of a license.
_TOLD = attrgetter("plan", "overrides", "email", "discord_user_id")


def license_events(before: License | None, after: License, terms: Plan, at: datetime) -> tuple[Event, ...]:
    """The events of the step from `before` to `after`, which has a higher revision, noticed at `at`.

    `terms` are those of `after`. The ids of events follow from the license's revision, so a repetition is the
    same event. Nobody is told of test licenses, which strangers make in any number.
    """
    if is_test(after):
        return ()
    if before is None:
        is_new = after.status == "active" and at - after.created_at < NEW_FOR
        return (_event("license_created", after, terms, at),) if is_new else ()
    kinds: list[EventKind] = []
    if after.grace_until is not None and before.grace_until is None:
        kinds.append("payment_failed")
    if after.status != before.status:
        kinds += _of_status(before, after)
    if after.status == "active" and _is_later(after.expires_at, before.expires_at):
        kinds.append("license_extended")
    claims = (_event("claim_requested", after, terms, at),) if _has_new_buyer(before, after) else ()
    if not kinds and after.status == "active" and _TOLD(before) != _TOLD(after):
        changed = _event("license_changed", after, terms, at)
        former = changed.values | {"former_plan": before.plan}
        return (msgspec.structs.replace(changed, values=former), *claims)
    return (*claims, *(_event(kind, after, terms, at) for kind in kinds))


def _has_new_buyer(before: License, after: License) -> bool:
    """Whether a license that is paid for was made before the buyer's address was known.

    Its first message, with the link to the key, reached nobody.
    """
    return before.email is None and after.email is not None and after.payment is not None


def expiry_warning(license_: License, days: int, terms: Plan, at: datetime) -> Event:
    """The warning that `license_` expires in `days` or less; one for each end and number of days."""
    assert license_.expires_at is not None
    end = license_.expires_at.astimezone(UTC)
    left = (end - at) / timedelta(days=1)
    return Event(
        event_id=f"{license_.license_id}.expiring.{days}.{end:%Y%m%dT%H%M%S}",
        kind="license_expiring",
        at=at,
        account_id=license_.account_id,
        license_id=license_.license_id,
        values=_values(license_, terms) | {"days": max(1, round(left))},
    )


def _of_status(before: License, after: License) -> list[EventKind]:
    match after.status:
        case "suspended":
            return ["license_suspended"]
        case "revoked":
            return ["license_revoked"]
        case "expired":
            return ["license_expired"]
        case "active" if before.status != "expired":
            return ["license_resumed"]
    # An expired license is active again because it was extended, which is an event of its own.
    return []


def _is_later(end: datetime | None, former: datetime | None) -> bool:
    return former is not None and (end is None or end > former)


def _event(kind: EventKind, license_: License, terms: Plan, at: datetime) -> Event:
    return Event(
        event_id=f"{license_.license_id}.{license_.revision}.{kind}",
        kind=kind,
        at=at,
        account_id=license_.account_id,
        license_id=license_.license_id,
        values=_values(license_, terms),
    )


def _values(license_: License, terms: Plan) -> dict[str, str | int | float | None]:
    return {
        "plan": license_.plan,
        "symbols": ", ".join(terms.symbols),
        "status": license_.status,
        "suspended_by": license_.suspended_by,
        "reason": _REASONS.get((license_.status, license_.suspended_by or "operator")),
        "expires_at": _text(license_.expires_at),
        "grace_until": _text(license_.grace_until),
    }


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
