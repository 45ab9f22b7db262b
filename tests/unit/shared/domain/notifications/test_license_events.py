"""Which events a change of a license is, and the warnings before it expires."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.access.licenses import License
from shared.domain.notifications.license_events import NEW_FOR, expiry_warning, license_events
from tests.support.license_plans import PLANS
from tests.support.licenses import NOW, a_license, changed

BASE: dict[str, Any] = {"expires_at": NOW + timedelta(days=30)}
GRACE = NOW + timedelta(days=7)
LATER = NOW + timedelta(days=60)


def kinds(before: License | None, after: License) -> list[str]:
    return [event.kind for event in license_events(before, after, PLANS.terms_of(after), NOW)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"status": "suspended", "suspended_by": "payment"}, ["license_suspended"]),
        ({"status": "suspended"}, {"status": "active"}, ["license_resumed"]),
        ({"status": "revoked"}, {"status": "active"}, ["license_resumed"]),
        ({}, {"status": "revoked"}, ["license_revoked"]),
        ({}, {"status": "expired"}, ["license_expired"]),
        ({"status": "expired"}, {"status": "active", "expires_at": LATER}, ["license_extended"]),
        ({"status": "suspended"}, {"status": "active", "expires_at": LATER},
         ["license_resumed", "license_extended"]),
        ({}, {"expires_at": None}, ["license_extended"]),
        ({}, {"expires_at": NOW + timedelta(days=3)}, []),
        ({}, {"grace_until": GRACE}, ["payment_failed"]),
        ({"grace_until": GRACE}, {"grace_until": GRACE + timedelta(days=1)}, []),
        ({"grace_until": GRACE}, {"grace_until": None}, []),
        ({}, {"plan": "pro"}, ["license_changed"]),
        ({}, {"discord_user_id": "1" * 17}, ["license_changed"]),
        ({"status": "suspended"}, {"plan": "pro"}, []),
        ({}, {"notes": "vip"}, []),
        ({"payment": "stripe:sub_1"}, {"email": "a@b.example"}, ["license_changed", "claim_requested"]),
        ({}, {"email": "a@b.example"}, ["license_changed"]),
        ({"payment": "stripe:sub_1", "email": "b@b.example"}, {"email": "a@b.example"}, ["license_changed"]),
        ({"plan": "test"}, {"status": "expired"}, []),
    ],
)  # fmt: skip
def test_a_step_is_these_events(before: dict[str, Any], after: dict[str, Any], told: list[str]) -> None:
    first = a_license(**BASE | before)
    second = changed(first, **after)
    assert kinds(first, second) == told
    ids = [event.event_id for event in license_events(first, second, PLANS.terms_of(second), LATER)]
    assert ids == [f"{first.license_id}.2.{kind}" for kind in told], "the time changes no id"


def test_a_license_is_created_once_and_an_old_one_that_is_met_first_tells_nothing() -> None:
    assert kinds(None, a_license()) == ["license_created"]
    assert kinds(None, a_license(created_at=NOW - NEW_FOR)) == []
    assert kinds(None, a_license(status="revoked")) == []


def test_a_warning_is_one_for_each_end_and_says_how_many_days_are_left() -> None:
    license_ = a_license(expires_at=NOW + timedelta(days=6, hours=20))
    first, again = (
        expiry_warning(license_, 7, PLANS.terms_of(license_), NOW + timedelta(minutes=late))
        for late in (0, 5)
    )
    assert (first.event_id, first.values["days"]) == (again.event_id, 7)
    extended = changed(license_, expires_at=LATER)
    assert expiry_warning(extended, 7, PLANS.terms_of(extended), NOW).event_id != first.event_id
