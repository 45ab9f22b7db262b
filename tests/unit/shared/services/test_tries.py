"""Tries of public routes: how many pass, who shares a count, and what happens while nothing counts."""

from ipaddress import ip_address

import pytest

from shared.domain.access.try_limits import TryLimit, network_of
from shared.errors import CacheUnavailable, TriesExceeded
from shared.services.tries import Tries


class Counts:
    def __init__(self) -> None:
        self.away = False
        self.counts: dict[str, int] = {}
        self.windows: dict[str, int] = {}

    async def count_try(self, what: str, window_s: int) -> tuple[int, float]:
        if self.away:
            raise CacheUnavailable("away")
        self.counts[what] = self.counts.get(what, 0) + 1
        self.windows[what] = window_s
        return self.counts[what], 7.5


async def test_tries_pass_up_to_the_limit_and_are_then_told_when_to_come_back() -> None:
    counts = Counts()
    tries, limits = Tries(counts), (TryLimit("door", "203.0.113.7", 2),)
    for _ in range(2):
        await tries.take(limits)
    with pytest.raises(TriesExceeded, match="more than 2 times in 1 h") as refused:
        await tries.take(limits)
    assert refused.value.retry_after_s == 7.5
    await tries.take((TryLimit("door", "203.0.113.8", 2),))
    assert counts.windows["door:203.0.113.7"] == 3600


async def test_while_nothing_counts_tries_are_refused_or_pass_as_the_route_says() -> None:
    counts = Counts()
    counts.away = True
    tries, limits = Tries(counts), (TryLimit("door", "everybody", 1),)
    with pytest.raises(CacheUnavailable):
        await tries.take(limits)
    await tries.take_if_counted(limits)
    counts.away = False
    await tries.take_if_counted(limits)
    with pytest.raises(TriesExceeded):
        await tries.take_if_counted(limits)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ],
)
def test_a_customers_addresses_count_together(one: str, other: str, together: bool) -> None:
    assert (network_of(ip_address(one)) == network_of(ip_address(other))) is together
    assert network_of(None) == "unknown"
