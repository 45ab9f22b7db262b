"""Who is notified of an event, and when."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.domain.notifications.channels import Channel, parse_channels
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import Lane, parse_lane
from shared.domain.notifications.routing import channel_routes, license_routes, own_route
from shared.errors import ConfigurationError
from tests.support.license_plans import a_plan

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
PLANS = {
    "free": a_plan("free", symbols=("ES",), signal_delay_s=900),
    "pro": a_plan("pro", symbols=("ES", "NQ"), signal_delay_s=0),
}


def an_event(kind: str, account: str | None = "acct-1", **values: Any) -> Event:
    license_id = "lic_0123456789ab" if account else None
    return Event(event_id="e", kind=kind, at=NOW, account_id=account, license_id=license_id, values=values)  # type: ignore[arg-type]


def signal(symbol: str) -> Event:
    return an_event("signal_published", None, symbol=symbol)


def a_channel(*events: str, **given: Any) -> Channel:
    return Channel(name="c", kind="discord", events=events, **given)  # type: ignore[arg-type]


def delay(event: Event, channel: Channel) -> float | None:
    routes = channel_routes(event, [channel], PLANS)
    return (routes[0].at - NOW).total_seconds() if routes else None


def test_a_channel_gets_its_events_alone() -> None:
    assert delay(an_event("feed_stale", None), a_channel("feed_stale")) == 0
    assert delay(an_event("feed_stale", None), a_channel("test")) is None


@pytest.mark.parametrize(
    ("plans", "delay_s", "symbol", "expected"),
    [
        (("free",), 0, "ES", 900),
        (("free",), 1_200, "ES", 1_200),
        (("free",), 0, "NQ", None),
        (("free", "pro"), 0, "ES", 0),
        (("pro",), 60, "NQ", 60),
        (("gone",), 0, "ES", None),
        ((), 60, "CL", 60),
    ],
)
def test_a_channel_gets_signals_as_its_plans_have_them(
    plans: tuple[str, ...], delay_s: float, symbol: str, expected: float | None
) -> None:
    assert delay(signal(symbol), a_channel("signal_published", plans=plans, delay_s=delay_s)) == expected


def test_a_channel_of_plans_gets_the_events_of_their_licenses() -> None:
    channel = a_channel("license_created", "feed_stale", plans=("pro",))
    assert delay(an_event("license_created", plan="pro"), channel) == 0
    assert delay(an_event("license_created", plan="free"), channel) is None
    assert delay(an_event("feed_stale", None), channel) == 0


def test_operators_get_the_summary_of_all_and_not_of_each() -> None:
    assert delay(an_event("daily_summary"), a_channel("daily_summary")) is None
    assert delay(an_event("daily_summary", None), a_channel("daily_summary")) == 0


def test_a_license_is_written_to_and_its_roles_follow() -> None:
    def lanes(kind: str, **switches: bool) -> list[str]:
        given = {"mails": True, "roles": True} | switches
        return [str(route.lane) for route in license_routes(an_event(kind), **given)]

    both = ["mail:lic_0123456789ab", "role:lic_0123456789ab"]
    assert lanes("license_suspended") == both
    assert lanes("license_suspended", mails=False) == both[1:]
    assert lanes("license_suspended", roles=False) == both[:1]
    assert lanes("claim_requested") == both[:1]
    assert lanes("daily_summary") == []
    assert license_routes(an_event("license_created", None), mails=True, roles=True) == []


def test_an_own_destination_gets_signals_with_the_delay_of_its_license() -> None:
    for terms, expected in ((PLANS["free"], 900), (PLANS["pro"], 0), (None, None)):
        route = own_route(signal("ES"), "webhook_1", "acct-1", terms)
        assert (None if route is None else (route.at - NOW).total_seconds()) == expected
    assert own_route(signal("NQ"), "webhook_1", "acct-1", PLANS["free"]) is None
    route = own_route(an_event("license_expired"), "webhook_1", "acct-1", None)
    assert route is not None
    assert (str(route.lane), route.account_id) == ("own:webhook_1", "acct-1")


def test_lanes_are_read_as_they_are_written() -> None:
    for lane in (Lane("own", "webhook_1"), Lane("mail", "lic_1")):
        assert parse_lane(str(lane)) == lane
    with pytest.raises(ValueError, match="pigeon"):
        parse_lane("pigeon:1")


GOOD = """
[[channel]]
name = "ops"
kind = "slack"
events = ["test"]
""" + "\n".join(
    f"[pace.{vendor}]\ntotal = {{ per_minute = 60, burst = 5 }}\nlane = {{ per_minute = 60, burst = 5 }}"
    for vendor in ("discord", "slack", "telegram", "mail", "sms", "pagerduty", "webhook", "role")
)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ('"ops"', '"Ops"', "name"),
        ('"ops"', '"mail"', "mail"),
        ('"slack"', '"pigeon"', "kind"),
        ('"slack"', '"webhook"', "webhook"),
        ('"test"', '"tset"', "events"),
        ('["test"]', "[]", "events"),
        ("[pace.role]", "[pace.roles]", "pace"),
        ("per_minute = 60", "per_minute = 0", "per_minute"),
        ("[[channel]]", "[[channel]]\ncolour = 1", "colour"),
        (
            "[[channel]]",
            '[[channel]]\nname = "ops"\nkind = "sms"\nevents = ["test"]\n[[channel]]',
            "same name",
        ),
        ("[[channel]]", "[[channel", "channels.toml"),
    ],
)
def test_a_file_of_channels_that_means_nothing_is_refused(good: str, bad: str, said: str) -> None:
    (channel,) = parse_channels(GOOD)
    assert (channel.setting, channel.kind) == ("NOTIFY_OPS", "slack")
    with pytest.raises(ConfigurationError, match=said):
        parse_channels(GOOD.replace(good, bad, 1))
