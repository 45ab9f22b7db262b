"""Describes the endings of licenses and keys, which are recorded beside them in the source of truth.

The record of an ending is written before the ending itself, so none is missing if a command dies half-way. A
record alone ends nothing: a timer and the app's processes read the license or key, and judge that.

A license that allows less than before, but goes on, has a record of another kind beside it: a closing, which
asks once that the connections of before are closed.
"""

from datetime import datetime, timedelta

import msgspec

from shared.domain.access.licenses import is_license_id
from shared.domain.limits import ClockSkew

# The timer closes connections for at least two minutes after an ending, because a connection may begin just
# then: it was judged before the ending and opens after the closing. Processes doubt their cached records of
# it as long: longer than a record in Redis can be out of date, see GRANT_TTL_S and MAX_LOAD. The time of an
# ending is the operator's, whose clock may be behind.
ENFORCED_FOR = timedelta(minutes=2) + ClockSkew.OPERATOR


class Ending(msgspec.Struct, frozen=True):
    """A license (its id) or a key (its public id) that ends, or may have ended, at `at`; or a closing.

    `at` is of the clock of the machine that ends it, and at most ClockSkew.OPERATOR from ours.
    """

    at: datetime
    subject: str

    def is_enforced(self, now: datetime) -> bool:
        """Whether the ending was so long ago, by any clock, that nothing can slip in any more."""
        return now - self.at >= ENFORCED_FOR


def closing_of(license_id: str, revision: int) -> str:
    """The subject of the closing that this revision of a license asks for."""
    return f"{license_id}.{revision}"


def closing_in(subject: str) -> tuple[str, int] | None:
    """The license and the revision of a closing; None if `subject` is a license or a key."""
    license_id, _, revision = subject.partition(".")
    if not is_license_id(license_id) or not (revision.isascii() and revision.isdigit()):
        return None
    return license_id, int(revision)
