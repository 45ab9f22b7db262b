"""Builds rows of service levels that burn their budgets at a known rate, up to NOON."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.infra.alerts.rows import HOT, NOON, Rows, metric, requests

# Minutes before NOON in which a share of events is bad: the first minute, the last one, and the share.
type Spell = tuple[int, int, float]
_TWO_DAYS = 48 * 60
EVENTS_A_STEP = 1_000


def _steps(spells: tuple[Spell, ...], step: int) -> Iterator[tuple[datetime, float]]:
    """The middle of each step of minutes over two days, with the share of bad events in it."""
    for minute in range(0, _TWO_DAYS, step):
        share = next((share for last, first, share in spells if last <= minute < first), 0.0)
        yield NOON - timedelta(minutes=minute, seconds=30), share


def availability(*spells: Spell, events: int = EVENTS_A_STEP) -> Rows:
    rows: Rows = []
    for at, share in _steps(spells, 5):
        rows += [metric("requests", events, at), metric("requests.failed", events * share, at)]
    return rows


def confidence(*spells: Spell, events: int = EVENTS_A_STEP) -> Rows:
    rows: Rows = []
    for at, share in _steps(spells, 5):
        for duration_ms, part in ((20.0, 1 - share), (101.0, share)):
            weight = round(events * part)
            rows += requests(HOT, [duration_ms], weight, TimeGenerated=at.replace(tzinfo=None))
    # Neither other routes nor the host's own records of the same request count.
    rows += requests("POST /api/trades", [5_000.0], 10**6)
    return rows + requests(HOT, [5_000.0], 10**6, AppRoleName="func-signal-cloud")


def signals(*spells: Spell, late_s: float = 2.1, step: int = 1) -> Rows:
    """A share of the measured minutes has a late signal; the outbox is measured every `step` minutes."""
    rows: Rows = []
    owed = 0.0
    for at, share in _steps(spells, step):
        rows.append(metric("outbox.age", 0, at))
        owed += share
        if owed >= 1 - 1e-9:
            owed -= 1
            rows.append(metric("publish.latency", late_s, at))
    return rows


def stuck_outbox(age_s: float) -> Rows:
    return [metric("outbox.age", age_s, NOON - timedelta(minutes=minute)) for minute in range(1, 60)]


# Shares just above and below 14.4, 6 and 1.5 times the budgets of 0.5% and 5%, over the long windows.
BURNS: dict[str, list[Rows]] = {
    "slo-availability-fast": [availability((0, 60, 0.073)), availability((0, 360, 0.031))],
    "slo-availability-slow": [availability((0, 2880, 0.0076))],
    "slo-confidence-fast": [confidence((0, 60, 0.73)), confidence((0, 360, 0.31))],
    "slo-confidence-slow": [confidence((0, 2880, 0.076))],
    "slo-signals-fast": [signals((0, 60, 0.2)), signals((0, 360, 0.1)), stuck_outbox(11)],
    "slo-signals-slow": [signals((0, 2880, 0.02), step=4)],
}
HOLDS: dict[str, list[Rows]] = {
    "slo-availability-fast": [
        availability((0, 60, 0.071)),
        availability((0, 360, 0.029)),
        # It was bad, and is good again.
        availability((5, 60, 0.08)),
        # A blip of five minutes.
        availability((0, 5, 0.07)),
        # Hardly anybody is there.
        availability((0, 2880, 0.5), events=1),
        [],
    ],
    "slo-availability-slow": [
        availability((0, 2880, 0.0074)),
        availability((240, 2880, 0.5)),
        availability((0, 5, 0.5)),
        [],
    ],
    "slo-confidence-fast": [
        confidence((0, 60, 0.71)),
        confidence((30, 360, 0.9)),
        confidence((0, 2880, 0.9), events=10),
        [],
    ],
    "slo-confidence-slow": [confidence((0, 2880, 0.074)), []],
    "slo-signals-fast": [
        signals((0, 60, 1.0), late_s=1.9),
        signals((30, 360, 1.0)),
        signals((0, 3, 1.0)),
        stuck_outbox(9),
        [],
    ],
    "slo-signals-slow": [signals((0, 2880, 0.005), step=4), signals((240, 2880, 1.0), step=4), []],
}
