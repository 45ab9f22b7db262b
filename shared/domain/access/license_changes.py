"""Changes licenses: every function returns the changed license, or the same one if nothing changes.

What an operator has revoked never works again: its changes raise Conflict. A revocation for a payment that
was taken back can be lifted, by an operator or by a payment.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.domain.access.licenses import License, SuspendedBy, is_over
from shared.domain.access.plans import Overrides
from shared.errors import Conflict


def extended(license_: License, until: datetime | timedelta, now: datetime) -> License:
    """`license_` that expires at `until`, or by that span later than now or than it would; never earlier.

    An expired license works again, and one whose payment had failed counts as paid. One that an operator has
    suspended stays suspended. Raises Conflict if the license is revoked, if `until` is over, or if the
    license has no end that a span could be added to.
    """
    _must_not_be_revoked(license_, "extended")
    if isinstance(until, timedelta):
        if license_.expires_at is None:
            raise Conflict(f"The license {license_.license_id} never expires: name a date instead of days.")
        try:
            end = max(license_.expires_at, now) + until
        except OverflowError as error:
            raise Conflict("That is beyond every calendar.") from error
    else:
        end = until
    if end <= now:
        raise Conflict(f"{end.isoformat()} is over: a license can be extended to a time in the future only.")
    if license_.expires_at is not None:
        end = max(end, license_.expires_at)
    return _changed(resumed(license_, "payment"), expires_at=end, **_alive_again(license_))


def with_plan(license_: License, plan: str) -> License:
    """`license_` under another plan; its overrides stay. Raises Conflict if it is revoked."""
    _must_not_be_revoked(license_, "changed")
    return _changed(license_, plan=plan)


def with_overrides(license_: License, overrides: Overrides) -> License:
    """`license_` with exactly these overrides. Raises Conflict if it is revoked."""
    _must_not_be_revoked(license_, "changed")
    return _changed(license_, overrides=overrides)


def with_notes(license_: License, notes: str) -> License:
    return _changed(license_, notes=notes)


def with_contact(license_: License, email: str | None, discord_user_id: str | None) -> License:
    """`license_` whose holder is reached at these; None means not at all."""
    return _changed(license_, email=email, discord_user_id=discord_user_id)


def suspended(license_: License, by: SuspendedBy = "operator") -> License:
    """`license_` suspended; raises Conflict if it is revoked or expired.

    One that was suspended before stays so. An operator's suspension replaces that of a payment, so that no
    payment lifts it.
    """
    if license_.status == "suspended" and by in (license_.suspended_by, "payment"):
        return license_
    _must_live(license_, "suspended")
    return _changed(license_, status="suspended", suspended_by=by, grace_until=None)


def resumed(license_: License, by: SuspendedBy = "operator") -> License:
    """`license_` without its suspension and grace; raises Conflict if an operator resumes what has ended.

    A payment does not lift what an operator has done; an operator lifts also what a payment has done.
    """
    if by == "payment":
        alive = {"status": "active", "suspended_by": None} if license_.suspended_by == "payment" else {}
        return _changed(license_, grace_until=None, **alive)
    if license_.status != "active" and license_.suspended_by != "payment":
        _must_live(license_, "resumed")
    return _changed(license_, status="active", suspended_by=None, grace_until=None)


def revoked(license_: License, by: SuspendedBy = "operator") -> License:
    """`license_` revoked, which is final if an operator does it, also after a payment did it."""
    if license_.status == "revoked" and by == "payment":
        return license_
    return _changed(license_, status="revoked", suspended_by=by, grace_until=None)


def ended(license_: License, now: datetime) -> License:
    """`license_` with the status that its times give it: expired, or suspended at the end of its grace."""
    if license_.status == "active" and is_over(license_.grace_until, now):
        return suspended(license_, "payment")
    return expired(license_, now)


def expired(license_: License, now: datetime) -> License:
    """`license_` with the status expired if it was active and its time is over."""
    if license_.status == "active" and is_over(license_.expires_at, now):
        return _changed(license_, status="expired")
    return license_


def _alive_again(license_: License) -> dict[str, Any]:
    return {"status": "active"} if license_.status == "expired" else {}


def _changed(license_: License, **values: Any) -> License:
    after = msgspec.structs.replace(license_, **values)
    return license_ if after == license_ else msgspec.structs.replace(after, revision=license_.revision + 1)


def _must_not_be_revoked(license_: License, verb: str) -> None:
    if license_.status == "revoked":
        raise Conflict(f"The license {license_.license_id} is revoked and cannot be {verb}.")


def _must_live(license_: License, verb: str) -> None:
    if license_.status in ("revoked", "expired"):
        raise Conflict(f"The license {license_.license_id} is {license_.status} and cannot be {verb}.")
