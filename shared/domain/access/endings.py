"""Describes the endings of licenses and keys, which are recorded beside them in the source of truth.

The record of an ending is written before the ending itself, so none is missing if a command dies half-way. A
record alone ends nothing: a timer and the app's processes read the license or key, and judge that.
"""

from datetime import datetime, timedelta

import msgspec

from shared.domain.limits import ClockSkew

# The timer closes connections for at least two minutes after an ending, because a connection may begin just
# then: it was judged before the ending and opens after the closing. Processes doubt their cached records of
# it as long: longer than a record in Redis can be out of date, see GRANT_TTL_S and MAX_LOAD. The time of an
# ending is the operator's, whose clock may be behind.
ENFORCED_FOR = timedelta(minutes=2) + ClockSkew.OPERATOR
# A change is made and its connections are closed within this time; otherwise the timer closes them.
CLOSED_WITHIN = timedelta(seconds=10)


class Ending(msgspec.Struct, frozen=True):
    """A license (its id) or a key (its public id) that ends, or may have ended, at `at`.

    `at` is of the clock of the machine that ends it, and at most ClockSkew.OPERATOR from ours. With `closes`,
    the license lives on, but its connections may hear what it does not cover any more, and must be closed.
    """

    at: datetime
    subject: str
    closes: bool = False

    def is_enforced(self, now: datetime) -> bool:
        """Whether the ending was so long ago, by any clock, that nothing can slip in any more."""
        return now - self.at >= ENFORCED_FOR

    def is_due_to_close(self, now: datetime) -> bool:
        """Whether the process that changed the license has failed to close its connections."""
        return self.closes and now - self.at >= CLOSED_WITHIN
