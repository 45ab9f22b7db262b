"""Decides which connections may open: each client access URL once, each license up to its plan's limit."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from shared.domain.access.sessions import SessionRecord

Verdict = Literal["opened", "used", "exceeded"]


class Opening(msgspec.Struct, frozen=True):
    """A connection that wants to open, under a license with `limit` connections at most.

    `session_id` is its session, if it has one; `session` restores it if Redis loses it.
    """

    connection_id: str
    license_id: str
    nonce: str
    limit: int
    session_id: str | None = None
    session: SessionRecord | None = None


class ConnectedSession(msgspec.Struct, frozen=True):
    """A session with open connections, the youngest of which is first; it should have one."""

    license_id: str
    session_id: str
    session: SessionRecord | None
    connection_ids: list[str]


def judge_openings(
    openings: Iterable[Opening], present: Mapping[str, int], used: Mapping[str, str]
) -> list[Verdict]:
    """The verdict on each opening, in order; each one that opens counts for those after it.

    `present` is the number of open connections of each license, `used` the connection that each used nonce
    opened. An opening that was accepted before is accepted again, because an event may be repeated.
    """
    counts, opened_by = dict(present), dict(used)
    verdicts: list[Verdict] = []
    for opening in openings:
        count = counts.get(opening.license_id, 0)
        opener = opened_by.get(opening.nonce)
        if opener is not None:
            verdicts.append("opened" if opener == opening.connection_id else "used")
        elif count >= opening.limit:
            verdicts.append("exceeded")
        else:
            counts[opening.license_id] = count + 1
            opened_by[opening.nonce] = opening.connection_id
            verdicts.append("opened")
    return verdicts
