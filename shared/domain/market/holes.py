"""Finds the minutes of a session that have no bar, and judges whether they may still arrive.

A minute without a trade has no bar, so an absent minute is either quiet or a hole in the feed. Nobody can
tell the two apart for certain. An entry that is decided while a bar before it is missing may be wrong, so it
is published only after every absent minute of its session is settled:

- a hole is given up PATIENCE after a later bar was received, because a feed that sends missed minutes again
  does so sooner;
- a short absence counts as quiet as soon as one more bar has come after the first bar behind it: one minute,
  or LONGEST_QUIET in a thin market, that is if other minutes of this session or of the one before it are
  absent too. Of the first minutes of a session, one counts as quiet in a thin market, or LONGEST_QUIET if the
  session before was thin, because a feed that begins during a session misses them;
- a feed of regular hours alone leaves out the same first minutes each day: they count as quiet if the session
  before began about as late, or if there is none and the bars are replayed from a file;
- nothing counts as quiet if a bar came late that is within DISORDER of it or of the entry.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from shared.domain.market.bars import BAR_INTERVAL, Source

PATIENCE = timedelta(minutes=30)
LONGEST_QUIET = timedelta(minutes=5)
# In a market that trades in nearly every minute, two absent minutes are a hole: ES had none in 35 sessions.
LEAST_QUIET_SHARE = 0.01
# A feed that sent a bar late may have others under way.
DISORDER = timedelta(hours=1)


class Arrival(msgspec.Struct, frozen=True):
    """One stored bar of a session, as far as its arrival matters."""

    open_time: datetime
    late: bool
    received_at: datetime
    source: Source


class Habit(msgspec.Struct, frozen=True):
    """What a feed's session before tells about absent minutes: their share after its first bar, and how long
    after the opening that bar began; None if it had no bars.
    """

    absent_share: float = 0.0
    opening: timedelta | None = timedelta(0)


def habit_of(arrivals: Sequence[Arrival], opens_at: datetime, closes_at: datetime) -> Habit:
    """The habit that `arrivals` show, all the stored bars of one session."""
    if not arrivals:
        return Habit(opening=None)
    minutes = (closes_at - arrivals[0].open_time) // BAR_INTERVAL
    return Habit(1 - len(arrivals) / minutes, arrivals[0].open_time - opens_at)


def is_settled(
    arrivals: Sequence[Arrival],
    opens_at: datetime,
    last_open_time: datetime,
    now: datetime,
    habit: Habit,
) -> bool:
    """Whether no bar from `opens_at` to the bar at `last_open_time` is expected any more at `now`.

    `arrivals` are the stored bars from `opens_at` on, oldest first. Those after `last_open_time` show that
    the feed went on. `habit` is that of the session before.
    """
    before = sum(arrival.open_time <= last_open_time for arrival in arrivals)
    if before == _minutes(opens_at, last_open_time):
        return True
    late = [arrival.open_time for arrival in arrivals if arrival.late]
    minutes = _minutes(opens_at, arrivals[-1].open_time)
    absent = minutes - len(arrivals)
    expected = opens_at
    for index, arrival in enumerate(arrivals[:before]):
        length = arrival.open_time - expected
        expected = arrival.open_time + BAR_INTERVAL
        if not length or now - min(one.received_at for one in arrivals[index:]) >= PATIENCE:
            continue
        others = (absent - length // BAR_INTERVAL) / minutes
        is_opening = not index
        quiet = _longest_quiet(others, habit.absent_share, is_opening=is_opening)
        if is_opening and _is_usual_opening(arrival, length, habit):
            quiet = length
        is_orderly = not any(
            abs(at - each) <= DISORDER for at in late for each in (arrival.open_time, last_open_time)
        )
        has_gone_on = len(arrivals) - index > 1
        if not (is_orderly and length <= quiet and has_gone_on):
            return False
    return True


def _is_usual_opening(first: Arrival, absent: timedelta, habit: Habit) -> bool:
    """Whether the feed's day usually begins with the bar `first`, `absent` after the opening."""
    if habit.opening is None:
        return first.source != "live"
    return habit.opening > LONGEST_QUIET and abs(absent - habit.opening) <= LONGEST_QUIET


def _longest_quiet(others: float, usual_share: float, *, is_opening: bool) -> timedelta:
    """The longest absence that counts as quiet; `others` is the share of other absent minutes so far."""
    was_thin = usual_share >= LEAST_QUIET_SHARE
    is_thin = was_thin or others >= LEAST_QUIET_SHARE
    if is_opening:
        return LONGEST_QUIET if was_thin else BAR_INTERVAL if is_thin else timedelta(0)
    return LONGEST_QUIET if is_thin else BAR_INTERVAL


def _minutes(first: datetime, last: datetime) -> int:
    return (last - first) // BAR_INTERVAL + 1
