"""No lane and no vendor gets more than its pace allows, and no notification is forgotten."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.notifications.channels import Pace, VendorPace
from shared.domain.notifications.claiming import MAX_PER_LANE, Due, selected
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import held, may_go_at, taken

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
EVENT = Event(event_id="e", kind="test", at=NOW)
paces = st.builds(Pace, per_minute=st.integers(1, 600), burst=st.integers(1, 10))


def due(number: int, lane: str) -> Due:
    return Due(notification_id=UUID(int=number), lane=lane, account_id=None, tries=0, event=EVENT)


@given(paces, st.lists(st.floats(0, 30), min_size=1, max_size=60))
def test_in_any_minute_a_lane_takes_its_pace_and_one_burst(pace: Pace, waits: list[float]) -> None:
    ready, now, went = NOW, NOW, []
    for wait in waits:
        now = may_go_at(ready, pace, now + timedelta(seconds=wait))
        ready = taken(ready, pace, now)
        went.append(now)
    for first in went:
        within = [at for at in went if first <= at < first + timedelta(seconds=60)]
        assert len(within) <= pace.per_minute + pace.burst


@given(paces, st.floats(0, 3_600))
def test_a_held_lane_is_quiet_until_then(pace: Pace, wait_s: float) -> None:
    until = NOW + timedelta(seconds=wait_s)
    assert may_go_at(held(pace, until), pace, NOW) >= until - timedelta(microseconds=2)


@given(
    st.lists(st.sampled_from(["own:a", "own:b", "own:c"]), max_size=80),
    st.builds(VendorPace, total=paces, lane=paces),
    st.sets(st.sampled_from(["own:a", "own:b", "own:c", "vendor:webhook"])),
    st.integers(1, 3),
)
def test_a_plan_loses_nothing_and_keeps_the_order(
    lanes: list[str], pace: VendorPace, free: set[str], most: int
) -> None:
    given_ = [due(number, lane) for number, lane in enumerate(lanes)]
    ready = dict.fromkeys(free, NOW)
    selection = selected(given_, ready, lambda lane: "webhook", {"webhook": pace}, now=NOW, lanes=most)
    sent = [each.notification_id for each in selection.sends]
    assert sent == sorted(sent)
    assert not set(sent) & set(selection.postponed)
    assert {each.lane for each in selection.sends} <= free
    assert len({each.lane for each in selection.sends}) <= most
    if "vendor:webhook" not in free:
        assert not selection.sends
    assert max(Counter(each.lane for each in selection.sends).values(), default=0) <= MAX_PER_LANE
    assert len(sent) <= pace.total.burst
    assert all(at > NOW for at in selection.postponed.values())
    # Within a lane, nothing that comes later is postponed to an earlier time.
    for lane in set(lanes):
        times = [
            selection.postponed[each.notification_id]
            for each in given_
            if each.lane == lane and each.notification_id in selection.postponed
        ]
        assert times == sorted(times)
    assert set(selection.ready) == {each.lane for each in selection.sends} | (
        {"vendor:webhook"} if sent else set()
    )


def test_a_lane_without_a_vendor_is_tried_at_once_and_paces_nothing() -> None:
    selection = selected(
        [due(1, "channel:gone")], {"channel:gone": NOW}, lambda lane: None, {}, now=NOW, lanes=16
    )
    assert [each.lane for each in selection.sends] == ["channel:gone"]


@given(st.builds(VendorPace, total=paces, lane=paces), st.integers(1, 10), st.floats(60, 86_400))
def test_a_lane_that_waits_makes_no_other_wait(pace: VendorPace, waiting: int, wait_s: float) -> None:
    """It kept places at the vendor far in the future, behind which all other lanes had to wait."""
    ready = {
        "own:held": held(pace.lane, NOW + timedelta(seconds=wait_s)),
        "own:b": NOW,
        "vendor:webhook": NOW,
    }
    given_ = [*(due(number, "own:held") for number in range(waiting)), due(99, "own:b")]
    selection = selected(given_, ready, lambda lane: "webhook", {"webhook": pace}, now=NOW, lanes=16)
    assert [each.lane for each in selection.sends] == ["own:b"]
    assert len(selection.postponed) == waiting
