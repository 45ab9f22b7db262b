"""Finds the minutes of a session that have no bar, and judges whether they may still arrive.

A minute without a trade has no bar, so an absent minute is either quiet or a hole in the feed. Nobody can
tell the two apart for certain. An entry that is decided while a bar before it is missing may be wrong, so it
is published only after every absent minute of its session is settled:

- a hole is given up PATIENCE after a later bar was received, because a feed that sends missed minutes again
  does so sooner;
- up to LONGEST_QUIET counts as quiet as soon as one more bar has come after the first bar behind it, if the
  market is thin, that is if other minutes of this session, or for its first minutes of the one before it,
  are absent too;
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
    before = sum(arrival.open_time <= last_open_time for arrival in arrivals)
    if before == _minutes(opens_at, last_open_time):
        return True
    is_orderly = not any(
        arrival.late and last_open_time - arrival.open_time <= DISORDER for arrival in arrivals
    )
    minutes = _minutes(opens_at, arrivals[-1].open_time)
    absent = minutes - len(arrivals)
    expected = opens_at
    for index, arrival in enumerate(arrivals[:before]):
        length = arrival.open_time - expected
        expected = arrival.open_time + BAR_INTERVAL
        if not length or now - min(one.received_at for one in arrivals[index:]) >= PATIENCE:
            continue
        # A feed that begins during a session misses its first minutes, so other absences say nothing of them.
        others = (absent - length // BAR_INTERVAL) / minutes if index else 0.0
        is_thin = max(others, usual_share) >= LEAST_QUIET_SHARE
        has_gone_on = len(arrivals) - index > 1
        if not (is_orderly and is_thin and length <= LONGEST_QUIET and has_gone_on):
            return False
    return True


def _minutes(first: datetime, last: datetime) -> int:
    return (last - first) // BAR_INTERVAL + 1
