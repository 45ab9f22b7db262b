"""Decides which of the due notifications go now: no lane and no vendor gets more than its pace allows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from shared.domain.notifications.channels import Vendor, VendorPace
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import may_go_at, taken, vendor_lane

# A run has a lane for as long as these take at most; see LEASE in shared/services/notification_sending.py.
MAX_PER_LANE = 4


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A notification that is due. `tries` counts the attempts, with the one that a run has claimed."""

    notification_id: UUID
    lane: str
    account_id: str | None
    tries: int
    event: Event


class Selection(msgspec.Struct, frozen=True):
    """What goes now, when the others may go, and when the lanes that were used are ready again."""

    sends: list[Due]
    postponed: dict[UUID, datetime]
    ready: dict[str, datetime]


def selected(
    due: Sequence[Due],
    ready: Mapping[str, datetime],
    vendor_of: Callable[[str], Vendor | None],
    paces: Mapping[Vendor, VendorPace],
    *,
    now: datetime,
    lanes: int,
) -> Selection:
    """What of `due` goes now, in its order.

    `ready` are the lanes that this run holds, those of vendors included; at most `lanes` of them are used. A
    notification of another lane is left as it is. So is one whose lane has enough for this run. One that is
    too fast for its lane or vendor is postponed behind those before it, so that no run looks at it until
    then.
    """
    selection = Selection([], {}, {})
    foreseen = dict(ready)
    used = Counter[str]()
    for each in due:
        vendor = vendor_of(each.lane)
        if each.lane not in ready or (vendor is not None and vendor_lane(vendor) not in ready):
            continue
        # Without a vendor there is nobody to send to, and nothing to pace.
        limits = (
            []
            if vendor is None
            else [(each.lane, paces[vendor].lane), (vendor_lane(vendor), paces[vendor].total)]
        )
        may_go = {lane: may_go_at(foreseen[lane], pace, now) for lane, pace in limits}
        at = max([now, *may_go.values()])
        is_full = used[each.lane] >= MAX_PER_LANE if each.lane in used else len(used) >= lanes
        if at <= now and is_full:
            continue
        # What waits for its own lane keeps no place at the vendor, which would make other lanes wait, too.
        foreseen |= {lane: taken(foreseen[lane], pace, at) for lane, pace in limits if may_go[lane] >= at}
        if at > now:
            selection.postponed[each.notification_id] = at
            continue
        used[each.lane] += 1
        selection.sends.append(each)
        selection.ready.update(
            {each.lane: foreseen[each.lane]}, **{lane: foreseen[lane] for lane, _ in limits}
        )
    return selection
