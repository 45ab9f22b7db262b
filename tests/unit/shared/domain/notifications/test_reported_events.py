"""Each event says what the templates of its kind show; a name that differs would be shown as a hyphen."""

from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from shared.adapters.notifications.files import shipped_templates
from shared.domain.notifications.events import Event
from shared.domain.notifications.license_events import expiry_warning, license_events
from shared.domain.notifications.signal_events import model_promoted, model_retired
from shared.domain.notifications.summaries import AccountDay, account_event, total_event
from shared.services.feed_watch import stale_event
from shared.services.notification_sending import parked_event
from tests.support.license_plans import PLANS
from tests.support.licenses import NOW, a_license, changed
from tests.support.shown_values import values_lacking

END = NOW + timedelta(days=30)
DAY = AccountDay(account_id="acct-1", trades=2, wins=1, net_pnl=Decimal("1.50"))
FEED: Any = SimpleNamespace(symbol="ES", age_s=600.0, last_open_time=NOW)
DUE: Any = SimpleNamespace(
    notification_id=UUID(int=1), lane="channel:ops", tries=12, event=SimpleNamespace(kind="test")
)


def of_license(**after: Any) -> Event:
    before = a_license(expires_at=END)
    (event,) = license_events(before, changed(before, **after), PLANS.terms_of(before), NOW)
    return event


EVENTS = [
    *license_events(None, a_license(), PLANS.terms_of(a_license()), NOW),
    of_license(status="suspended", suspended_by="payment"),
    of_license(status="revoked", suspended_by="operator"),
    of_license(status="expired"),
    of_license(expires_at=END + timedelta(days=30)),
    of_license(grace_until=END),
    of_license(plan="pro"),
    expiry_warning(a_license(expires_at=END), 7, PLANS.terms_of(a_license()), NOW),
    model_promoted("vwap_bounce", "v-1", "base_rate", NOW),
    model_retired("vwap_bounce", "v-1", NOW),
    account_event(DAY, date(2026, 3, 1), NOW),
    total_event([DAY], date(2026, 3, 1), NOW),
    stale_event(FEED),
    parked_event(DUE, SimpleNamespace(error="404"), NOW),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("event", EVENTS, ids=[event.kind for event in EVENTS])
def test_an_event_says_what_its_message_shows(event: Event) -> None:
    assert values_lacking(event) == set()
    assert " -" not in shipped_templates().render(event, "slack").text


@pytest.mark.parametrize(
    ("status", "by", "reason"),
    [
        ("suspended", "payment", "a payment failed"),
        ("suspended", "operator", "an operator suspended it"),
        ("revoked", "payment", "works again after the next payment"),
        ("revoked", "operator", "for good"),
    ],
)
def test_a_holder_is_told_why_a_license_ended_and_whether_it_works_again(
    status: str, by: str, reason: str
) -> None:
    message = shipped_templates().render(of_license(status=status, suspended_by=by), "mail")
    assert reason in message.text
