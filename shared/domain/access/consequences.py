"""Decides what follows from a change of a license: what is announced before, and what is closed after it."""

from datetime import datetime

import msgspec

from shared.domain.access.endings import Ending
from shared.domain.access.licenses import License, license_refusal
from shared.domain.access.plans import Plan


class Consequences(msgspec.Struct, frozen=True):
    """The endings to record before the change, and whether it closes the license's connections."""

    endings: tuple[Ending, ...]
    closes: bool


def consequences(before: License, after: License, terms: tuple[Plan, Plan], now: datetime) -> Consequences:
    """What follows when `before` becomes `after`; `terms` are those of both.

    Connections are closed, and sessions end, if the license allows nothing now, if they are in groups of
    symbols that it would not get any more, if it has fewer places, or if it needs a session from now on:
    clients connect again by themselves.
    """
    has_ended = license_refusal(after, now) is not None
    closes = has_ended or _has_other_groups(*terms) or _has_fewer_places(*terms)
    endings = [Ending(now, after.license_id, closes=not has_ended)] if closes else []
    for old, new in ((before.expires_at, after.expires_at), (before.grace_until, after.grace_until)):
        if new is not None and new != old and new > now:
            endings.append(Ending(new, after.license_id))
    return Consequences(tuple(endings), closes)


def _has_other_groups(before: Plan, after: Plan) -> bool:
    """Whether sockets of `before` hear what `after` does not cover, or hear it at another time."""
    return not set(before.symbols) <= set(after.symbols) or before.signal_delay_s != after.signal_delay_s


def _has_fewer_places(before: Plan, after: Plan) -> bool:
    """Whether more bots may be connected than `after` allows."""
    return after.sessions < before.sessions or (after.session_required and not before.session_required)
