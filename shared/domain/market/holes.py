"""Finds the minutes of a session that have no bar, and judges whether they may still arrive.

A minute without a trade has no bar, so an absent minute is either quiet or a hole in the feed. Nobody can
tell the two apart for certain. An entry that is decided while a bar before it is missing may be wrong, so it
is published only after every absent minute of its session is settled:

- a hole is given up PATIENCE after a later bar was received, because a feed that sends missed minutes again
  does so sooner;
- up to LONGEST_QUIET counts as quiet as soon as one more bar has come after the first bar behind it, if the
  market is thin, that is if other minutes of this session or of the one before it are absent too, and as
  soon as bars of PATIENCE have come if it is not;
- nothing counts as quiet while a bar of the last DISORDER came late.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from shared.domain.market.bars import BAR_INTERVAL

PATIENCE = timedelta(minutes=30)
LONGEST_QUIET = timedelta(minutes=5)
# In a market that trades in nearly every minute, one absent minute is a hole: ES had none in 35 sessions.
LEAST_QUIET_SHARE = 0.01
# A feed that sent a bar late may have others under way.
DISORDER = timedelta(hours=1)


class Arrival(msgspec.Struct, frozen=True):
    """One stored bar of a session, as far as its arrival matters."""

    open_time: datetime
    late: bool
    received_at: datetime


def absent_share(arrivals: Sequence[Arrival], closes_at: datetime) -> float:
    """The share of minutes without a bar from the first of `arrivals` to the close of their session."""
    if not arrivals:
        return 0.0
    minutes = (closes_at - arrivals[0].open_time) // BAR_INTERVAL
    return 1 - len(arrivals) / minutes


def is_settled(
    arrivals: Sequence[Arrival],
    opens_at: datetime,
    last_open_time: datetime,
    now: datetime,
    *,
    usual_share: float = 0.0,
) -> bool:
    """Whether no bar from `opens_at` to the bar at `last_open_time` is expected any more at `now`.

    `arrivals` are the stored bars from `opens_at` on, oldest first. Those after `last_open_time` show that
    the feed went on. `usual_share` is the share of absent minutes in the session before.
    """
    minutes = (last_open_time - opens_at) // BAR_INTERVAL + 1
    before = sum(arrival.open_time <= last_open_time for arrival in arrivals)
    absent = minutes - before
    if not absent:
        return True
    is_orderly = not any(
        arrival.late and last_open_time - arrival.open_time <= DISORDER for arrival in arrivals
    )
    expected = opens_at
    for index, arrival in enumerate(arrivals[:before]):
        length = (arrival.open_time - expected) // BAR_INTERVAL
        expected = arrival.open_time + BAR_INTERVAL
        behind = len(arrivals) - index
        if not length or now - min(one.received_at for one in arrivals[index:]) >= PATIENCE:
            continue
        share = max((absent - length) / minutes, usual_share)
        needed = 1 if share >= LEAST_QUIET_SHARE else PATIENCE // BAR_INTERVAL
        if not is_orderly or length * BAR_INTERVAL > LONGEST_QUIET or behind <= needed:
            return False
    return True
