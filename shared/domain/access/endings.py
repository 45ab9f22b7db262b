"""Describes the endings of licenses and keys, which are recorded beside them in the source of truth.

The record of an ending is written before the ending itself, so none is missing if a command dies half-way. A
record alone ends nothing: a timer and the app's processes read the license or key, and judge that.
"""

from datetime import datetime, timedelta

import msgspec

# The timer closes connections for this long after an ending, because a connection may begin just then: it was
# judged before the ending and opens after the closing. Processes doubt their cached records of it as long:
# longer than a record in Redis can be out of date, see GRANT_TTL_S and MAX_LOAD.
ENFORCED_FOR = timedelta(minutes=2)


class Ending(msgspec.Struct, frozen=True):
    """A license (its id) or a key (its public id) that ends, or may have ended, at `at`."""

    at: datetime
    subject: str

    def is_enforced(self, now: datetime) -> bool:
        """Whether the ending was long enough ago that nothing can slip in any more."""
        return now - self.at >= ENFORCED_FOR
