"""Decides where an event goes, and when."""

from collections.abc import Container, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from shared.domain.notifications.channels import Channel
from shared.domain.notifications.events import Event, EventKind
from shared.domain.notifications.lanes import Lane

_OF_A_LICENSE: tuple[EventKind, ...] = (
    "license_created",
    "license_extended",
    "license_changed",
    "license_expiring",
    "license_expired",
    "license_suspended",
    "license_resumed",
    "license_revoked",
    "payment_failed",
)
# What a customer may subscribe a destination to; all but signals are of its own account.
CUSTOMER_EVENTS: tuple[EventKind, ...] = (
    "signal_published",
    *_OF_A_LICENSE,
    "key_rotated",
    "session_taken_over",
    "daily_summary",
)
# What the address of a license is written to about.
MAILED: tuple[EventKind, ...] = (*_OF_A_LICENSE, "claim_requested", "key_rotated", "session_taken_over")
# After these, the roles of a license's holder may be others.
ROLE_CHANGING = tuple(kind for kind in _OF_A_LICENSE if kind != "license_expiring")


class Terms(Protocol):
    """What a plan, or a license by its plan, says of signals."""

    @property
    def symbols(self) -> Container[str]: ...
    @property
    def signal_delay_s(self) -> float: ...


class Route(NamedTuple):
    """One notification of an event: where it goes, when, and the account that may see it."""

    lane: Lane
    at: datetime
    account_id: str | None = None


def channel_routes(event: Event, channels: Iterable[Channel], plans: Mapping[str, Terms]) -> list[Route]:
    """The channels of operators that get `event`. A day's summary of one account is not theirs."""
    if event.kind == "daily_summary" and event.account_id is not None:
        return []
    found = (
        (channel, _delay_s(event, channel, plans)) for channel in channels if event.kind in channel.events
    )
    return [
        Route(Lane("channel", channel.name), event.at + timedelta(seconds=delay_s))
        for channel, delay_s in found
        if delay_s is not None
    ]


def _delay_s(event: Event, channel: Channel, plans: Mapping[str, Terms]) -> float | None:
    """The seconds after the event; None if the event is not of the channel's plans."""
    if not channel.plans:
        return channel.delay_s
    if event.kind != "signal_published":
        is_ours = event.license_id is None or event.values.get("plan") in channel.plans
        return channel.delay_s if is_ours else None
    delays = [
        plans[name].signal_delay_s
        for name in channel.plans
        if name in plans and event.values.get("symbol") in plans[name].symbols
    ]
    return max(channel.delay_s, min(delays)) if delays else None


def license_routes(event: Event, *, mails: bool, roles: bool) -> list[Route]:
    """The mail and the roles of the event's license. Only the time of sending knows its address."""
    if event.license_id is None:
        return []
    lanes = [
        *([Lane("mail", event.license_id)] if mails and event.kind in MAILED else []),
        *([Lane("role", event.license_id)] if roles and event.kind in ROLE_CHANGING else []),
    ]
    return [Route(lane, event.at) for lane in lanes]


def test_route(event: Event) -> Route:
    """The destination of which the holder of its license asked for a test."""
    return Route(Lane("own", str(event.values.get("destination_id"))), event.at, event.account_id)


def own_route(event: Event, destination_id: str, account_id: str, terms: Terms | None) -> Route | None:
    """A customer's own destination; `terms` are those of its license for a signal, None if it has ended."""
    lane = Lane("own", destination_id)
    if event.kind != "signal_published":
        return Route(lane, event.at, account_id)
    if terms is None or event.values.get("symbol") not in terms.symbols:
        return None
    return Route(lane, event.at + timedelta(seconds=terms.signal_delay_s), account_id)


class Subscriber(NamedTuple):
    """A customer's destination that gets events of a kind, and the license that it is of."""

    destination_id: str
    account_id: str
    license_id: str
