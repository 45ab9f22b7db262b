"""The life of a license: what each change does, what it leaves alone, and what is final."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.access.license_changes import (
    ended,
    expired,
    extended,
    resumed,
    revoked,
    suspended,
    with_contact,
    with_notes,
    with_overrides,
    with_plan,
)
from shared.domain.access.licenses import License, license_refusal
from shared.domain.access.plans import Overrides
from shared.errors import Conflict
from tests.support.licenses import changed

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
LICENSE = License(license_id="lic_Ab0123456789", account_id="a", created_at=NOW)


def a_license(**values: Any) -> License:
    return msgspec.structs.replace(LICENSE, **values)


def in_grace(license_: License, until: datetime) -> License:
    """An active license whose payment has failed; shared/domain/payments/licensing.py makes it so."""
    is_due = license_.status == "active" and license_.grace_until != until
    return changed(license_, grace_until=until) if is_due else license_


def code(license_: License, now: datetime = NOW) -> str | None:
    refused = license_refusal(license_, now)
    return refused.code if refused is not None else None


def test_a_suspension_can_be_ended() -> None:
    off = suspended(LICENSE)
    assert (off.status, off.suspended_by, off.revision) == ("suspended", "operator", 2)
    assert suspended(off) is off
    on = resumed(off)
    assert (on.status, on.suspended_by, on.revision) == ("active", None, 3)
    assert resumed(on) is on


def test_what_an_operator_has_ended_stays_ended() -> None:
    gone = revoked(LICENSE)
    assert (gone.status, gone.suspended_by, gone.revision) == ("revoked", "operator", 2)
    assert revoked(gone) is gone
    assert revoked(gone, "payment") is gone
    over = a_license(status="expired")
    for one in (gone, over):
        with pytest.raises(Conflict, match=f"is {one.status} and cannot be suspended"):
            suspended(one)
        with pytest.raises(Conflict, match=f"is {one.status} and cannot be resumed"):
            resumed(one)
        assert resumed(one, "payment") == one
    assert revoked(over).status == "revoked"
    forbidden: list[Callable[[], License]] = [
        lambda: extended(gone, DAY, NOW),
        lambda: with_plan(gone, "pro"),
        lambda: with_overrides(gone, Overrides(keys=1)),
    ]
    for change in forbidden:
        with pytest.raises(Conflict, match="is revoked and cannot be"):
            change()
    assert with_notes(gone, "chargeback").notes == "chargeback"


def test_what_a_payment_has_done_can_be_undone_but_not_what_an_operator_has() -> None:
    unpaid, disputed = suspended(LICENSE, "payment"), revoked(LICENSE, "payment")
    for one in (unpaid, disputed):
        assert resumed(one, "payment").status == resumed(one).status == "active"
        assert resumed(one).suspended_by is None
    by_us = suspended(LICENSE)
    assert resumed(by_us, "payment") is by_us
    assert suspended(by_us, "payment") is by_us
    assert suspended(unpaid).suspended_by == "operator"
    assert revoked(disputed).suspended_by == "operator"
    assert code(unpaid) == "license_suspended"
    assert code(disputed) == "license_revoked"
    refused, final = license_refusal(disputed, NOW), license_refusal(revoked(disputed), NOW)
    assert refused is not None and "works again after the next payment" in refused.detail
    assert final is not None and "again" not in final.detail


def test_only_an_active_license_whose_time_is_over_is_marked() -> None:
    due = a_license(expires_at=NOW)
    marked = expired(due, NOW)
    assert (marked.status, marked.revision) == ("expired", 2)
    assert expired(marked, NOW) is marked
    assert expired(due, NOW - SECOND) is due
    assert expired(LICENSE, NOW) is LICENSE
    off = suspended(due)
    assert expired(off, NOW) is off


def test_a_failed_payment_suspends_at_the_end_of_its_grace() -> None:
    late = changed(LICENSE, grace_until=NOW + DAY)
    assert (late.status, late.grace_until) == ("active", NOW + DAY)
    assert [code(late, NOW + DAY - SECOND), code(late, NOW + DAY)] == [None, "license_suspended"]
    assert ended(late, NOW) is late
    over = ended(late, NOW + DAY)
    assert (over.status, over.suspended_by, over.grace_until) == ("suspended", "payment", None)
    for paid in (extended(over, NOW + 30 * DAY, NOW), extended(late, NOW + 30 * DAY, NOW)):
        assert (paid.status, paid.suspended_by, paid.grace_until) == ("active", None, None)
        assert code(paid) is None
    assert resumed(late).grace_until is None


def test_days_count_from_the_end_or_from_now_if_that_is_later() -> None:
    running = a_license(expires_at=NOW + DAY)
    assert extended(running, 30 * DAY, NOW).expires_at == NOW + 31 * DAY
    over = a_license(status="expired", expires_at=NOW - 90 * DAY)
    again = extended(over, 30 * DAY, NOW)
    assert (again.expires_at, again.status, code(again)) == (NOW + 30 * DAY, "active", None)
    unmarked = extended(a_license(expires_at=NOW - SECOND), DAY, NOW)
    assert (unmarked.expires_at, code(unmarked)) == (NOW + DAY, None)


def test_an_extension_to_a_date_never_shortens() -> None:
    running = a_license(expires_at=NOW + 30 * DAY)
    assert extended(running, NOW + DAY, NOW) is running
    assert extended(running, NOW + 31 * DAY, NOW).expires_at == NOW + 31 * DAY
    for until in (NOW, NOW - SECOND):
        with pytest.raises(Conflict, match="is over"):
            extended(running, until, NOW)


def test_an_extension_leaves_an_operators_suspension() -> None:
    off = suspended(a_license(expires_at=NOW + DAY))
    longer = extended(off, DAY, NOW)
    assert (longer.status, longer.expires_at) == ("suspended", NOW + 2 * DAY)


def test_a_span_needs_an_end_and_a_calendar() -> None:
    with pytest.raises(Conflict, match="never expires"):
        extended(LICENSE, DAY, NOW)
    assert extended(LICENSE, NOW + DAY, NOW).expires_at == NOW + DAY
    with pytest.raises(Conflict, match="calendar"):
        extended(a_license(expires_at=NOW), timedelta(days=10**7), NOW)


@pytest.mark.parametrize(
    ("change", "values"),
    [
        (lambda one: with_plan(one, "pro"), {"plan": "pro"}),
        (lambda one: with_overrides(one, Overrides(keys=3)), {"overrides": Overrides(keys=3)}),
        (lambda one: with_notes(one, "called"), {"notes": "called"}),
        (lambda one: with_contact(one, "a@b.cd", None), {"email": "a@b.cd"}),
    ],
)
def test_a_value_changes_alone_and_once(change: Callable[[License], License], values: dict[str, Any]) -> None:
    after = change(LICENSE)
    assert after == a_license(**values, revision=2)
    assert change(after) is after


CHANGES: list[Callable[[License], License]] = [
    suspended,
    lambda one: suspended(one, "payment"),
    resumed,
    lambda one: resumed(one, "payment"),
    lambda one: revoked(one, "payment"),
    lambda one: ended(one, NOW),
    lambda one: in_grace(one, NOW),
    lambda one: in_grace(one, NOW + DAY),
    lambda one: extended(one, DAY, NOW),
    lambda one: extended(one, NOW + 3 * DAY, NOW),
    lambda one: with_plan(one, "pro"),
]


@given(st.lists(st.sampled_from(CHANGES), max_size=12))
def test_after_any_changes_a_paid_extension_makes_it_work_unless_an_operator_forbids_it(
    changes: list[Callable[[License], License]],
) -> None:
    """And every change either raises, or is counted, or returns the very same license."""
    one = LICENSE
    for change in changes:
        try:
            after = change(one)
        except Conflict:
            continue
        assert (after is one) or (after.revision > one.revision and after != one)
        assert change(after).status == after.status, "a repeated change changes nothing more"
        one = after
    forbidden = one.suspended_by == "operator"
    if one.status == "revoked":
        one = resumed(one, "payment")
    again = extended(one, NOW + 9 * DAY, NOW) if one.status != "revoked" else one
    assert (code(again) is None) == (not forbidden)
