"""Decides what a subscription's payments make of its license.

The decision follows from the state of the payments, what an operator did to the license, and the time; it
does not matter which events came first. Payments leave to operators what is theirs: a suspension or
revocation that an operator made, an end that an operator moved, another plan, another mail address, and the
work that an operator allowed although a payment had failed or was taken back.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from shared.domain.access.account_data import is_erased
from shared.domain.access.licenses import License, LicenseStatus, license_refusal
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.plans import Plan
from shared.domain.payments.events import MAX_TEXT
from shared.domain.payments.history import PaymentState

# Vendors collect up to hours after a period has begun, and deliver events later still. So a license whose
# subscription renews itself ends this much later than the paid period. One that is cancelled ends with it.
RENEWAL_WAIT = timedelta(days=1)


class Standing(NamedTuple):
    """What the payments alone would make of a license: its status, its end, and the end of its grace.

    `cause` names the payment for which they refuse it, or will after the grace; None if there is none.
    """

    status: LicenseStatus
    expires_at: datetime | None
    grace_until: datetime | None = None
    cause: str | None = None


def grace_of(plan: Plan) -> timedelta:
    """How long a license works after a failed payment."""
    return timedelta(days=float(plan.grace_days))


def standing_of(state: PaymentState, grace: timedelta, now: datetime) -> Standing:
    """What the payments make of a license whose plan has this grace."""
    end = _end_of(state, grace)
    if state.revoked_for is not None:
        return Standing("revoked", end, cause=f"{state.revoked_for}:{state.taken_back}"[:MAX_TEXT])
    if end is not None and end <= now:
        return Standing("expired", end)
    if state.failed_at is None or state.ended_at is not None:
        return Standing("active", end)
    until = state.failed_at + grace
    cause = f"failure:{state.failed_at.isoformat()}"
    return Standing("suspended", end, None, cause) if until <= now else Standing("active", end, until, cause)


def _end_of(state: PaymentState, grace: timedelta) -> datetime | None:
    if state.ended_at is not None:
        return state.ended_at
    if not state.renews and (state.ends_at is None or state.period_end is None):
        return state.ends_at
    if state.period_end is None:
        return None
    # Some vendors move the period only when it is paid. The grace ends access then, not the period.
    last = state.period_end if state.failed_at is None else max(state.period_end, state.failed_at + grace)
    renewed = last + RENEWAL_WAIT
    # One that ends in several periods is paid period by period until then.
    return renewed if state.renews or state.ends_at is None else min(state.ends_at, renewed)


def settled(license_: License, state: PaymentState, plan: str, plans: PlanCatalog, now: datetime) -> License:
    """`license_` as the payments want it; the same object if nothing changes, or if its holder was erased."""
    if is_erased(license_):
        return license_
    followed = msgspec.structs.replace(
        license_,
        plan=plan if license_.paid_plan != plan else license_.plan,
        paid_plan=plan,
        payment=state.subject,
        email=_contact(license_.email, state.email, state.emails),
        discord_user_id=_contact(license_.discord_user_id, state.discord_user_id, state.discord_user_ids),
    )
    grace = grace_of(plans.terms_of(followed))
    standing = standing_of(state, grace, now)
    end = _moved_end(license_, standing.expires_at)
    followed = msgspec.structs.replace(
        followed,
        expires_at=end,
        paid_until=standing.expires_at,
        renews=state.renews and state.ended_at is None,
    )
    if _is_operators(license_):
        pass
    elif standing.status in ("suspended", "revoked") and not _is_allowed(license_, standing):
        followed = msgspec.structs.replace(
            followed,
            status=standing.status,
            suspended_by="payment",
            grace_until=None,
            refused_for=standing.cause,
        )
    else:
        is_over = end is not None and end <= now
        followed = msgspec.structs.replace(
            followed,
            status="expired" if is_over else "active",
            suspended_by=None,
            grace_until=None if _is_allowed(license_, standing) else standing.grace_until,
            refused_for=standing.cause,
        )
    if followed == license_:
        return license_
    return msgspec.structs.replace(followed, revision=license_.revision + 1)


def _is_operators(license_: License) -> bool:
    """Whether an operator has suspended or revoked it."""
    return license_.status in ("suspended", "revoked") and license_.suspended_by != "payment"


def _is_allowed(license_: License, standing: Standing) -> bool:
    """Whether an operator has lifted what the payments did for this very cause."""
    return (
        standing.cause is not None
        and standing.cause == license_.refused_for
        and license_.suspended_by is None
        and license_.grace_until is None
    )


def _moved_end(license_: License, paid: datetime | None) -> datetime | None:
    """The license's new end: an operator's later end stays, and an earlier one until the next payment."""
    if license_.payment is None or license_.expires_at == license_.paid_until:
        return paid
    if paid is None or license_.expires_at is None:
        return None
    if license_.paid_until is None or license_.expires_at < license_.paid_until:
        return license_.expires_at if paid == license_.paid_until else paid
    return max(license_.expires_at, paid)


def _contact(kept: str | None, given: str | None, ever_given: frozenset[str]) -> str | None:
    """The vendor's newest, unless the license has one that the vendor never gave."""
    return given if given is not None and (kept is None or kept in ever_given) else kept


def changes_between(before: License | None, after: License, now: datetime) -> str:
    """One line on what the payments changed, for the inbox and the audit."""
    if before is None:
        return f"license {after.license_id} created on plan {after.plan}"
    said: list[str] = []
    if before.plan != after.plan:
        said.append(f"plan {before.plan} became {after.plan}")
    if before.expires_at != after.expires_at:
        end = after.expires_at
        said.append("never ends" if end is None else f"ends at {end:%Y-%m-%dT%H:%M:%SZ}")
    if after.grace_until is not None and before.grace_until != after.grace_until:
        said.append(f"suspended from {after.grace_until:%Y-%m-%dT%H:%M:%SZ} on, unless it is paid")
    if before.grace_until is not None and after.grace_until is None and after.status == "active":
        said.append("paid in time")
    if before.status != after.status:
        said.append(f"{before.status} became {after.status}")
    if (before.email, before.discord_user_id) != (after.email, after.discord_user_id):
        said.append("contact changed")
    if not said:
        refused = license_refusal(after, now)
        said.append("nothing changed" if refused is None else f"nothing changed: {refused.code}")
    return f"license {after.license_id}: {', '.join(said)}"
