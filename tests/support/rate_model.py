"""Models the rate limits with plain lists: what take_requests.lua must do, on times in microseconds."""

from collections import defaultdict
from dataclasses import dataclass, field

from shared.domain.access.rate_limit import Limits


@dataclass(frozen=True)
class Verdict:
    """Whether a request is admitted; if not, the microseconds until each limit that refuses it has room."""

    allowed: bool
    waits: dict[str, int]
    key_left: int
    license_left: int | None


@dataclass
class RateModel:
    """The logs of admitted units, by key and by license."""

    window: int
    burst_window: int
    keys: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    licenses: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def take(
        self, key: str, license_id: str, limits: Limits, now: int, *, cost: int = 1, paid: int = 0
    ) -> Verdict:
        """Takes the units of a request from every limit, or from none."""
        log, together = self.keys[key], self.licenses[license_id]
        cost = min(cost, limits.key)
        waits = {"key": _wait(log, limits.key, cost, paid, window=self.window, now=now)}
        if limits.burst:
            units = min(cost, limits.burst)
            waits["burst"] = _wait(log, limits.burst, units, paid, window=self.burst_window, now=now)
        if limits.license:
            units = min(cost, limits.license)
            waits["license"] = _wait(together, limits.license, units, paid, window=self.window, now=now)
        waits = {name: us for name, us in waits.items() if us}
        if not waits:
            log += [now] * (cost - paid)
            if limits.license:
                together += [now] * (min(cost, limits.license) - paid)
        return Verdict(
            not waits,
            waits,
            limits.key - _count(log, self.window, now),
            limits.license - _count(together, self.window, now) if limits.license else None,
        )


def _count(log: list[int], window: int, now: int) -> int:
    return sum(now - window <= each <= now for each in log)


def _wait(log: list[int], limit: int, units: int, paid: int, *, window: int, now: int) -> int:
    """0 if `units` - `paid` more fit now; else the time until `units` fit."""
    if _count(log, window, now) + units - paid <= limit:
        return 0
    leaving = [each + window + 1 for each in log if each >= now - window]
    return next(at for at in leaving if _count(log, window, at) + units <= limit) - now
