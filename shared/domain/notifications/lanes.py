"""Names where notifications go, and decides when each may go there.

A lane is one receiver: `channel:<name>`, `mail:<license>`, `role:<license>` or `own:<destination>`. The
messages of a lane go one after another. The vendor behind it has a lane of its own, `vendor:<name>`, for its
pace alone.
"""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from shared.domain.notifications.channels import Pace, Vendor

LaneKind = Literal["channel", "mail", "role", "own"]


class Lane(NamedTuple):
    """The kind of a lane, and the name of its receiver within that kind."""

    kind: LaneKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse_lane(text: str) -> Lane:
    """The lane of its text; raises ValueError for a kind that does not exist."""
    kind, _, name = text.partition(":")
    if kind not in ("channel", "mail", "role", "own"):
        raise ValueError(f"there are no lanes of kind {kind}")
    return Lane(kind, name)  # type: ignore[arg-type]  # checked above


def vendor_lane(vendor: Vendor) -> str:
    return f"vendor:{vendor}"


def may_go_at(ready_at: datetime, pace: Pace, now: datetime) -> datetime:
    """When the next message may go: `now`, or later if `burst` messages have gone faster than the pace.

    By the generic cell rate algorithm: a lane is ready when all that has gone would have gone evenly.
    """
    return max(now, ready_at - _ahead(pace))


def taken(ready_at: datetime, pace: Pace, now: datetime) -> datetime:
    """When the lane is ready after one more message at `now`."""
    return max(ready_at, now) + timedelta(seconds=pace.interval_s)


def held(pace: Pace, until: datetime) -> datetime:
    """When a lane is ready whose receiver asked that nothing comes before `until`."""
    return until + _ahead(pace)


def _ahead(pace: Pace) -> timedelta:
    return timedelta(seconds=pace.interval_s * (pace.burst - 1))
