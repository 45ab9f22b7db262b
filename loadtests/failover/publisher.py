"""Publishes signals at a steady rate, each until it is acknowledged, and again after an outage."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

SYMBOL = "ES"
# The market's clock is that of this bar, on a Friday: a rehearsal does not depend on the hour of the day.
BAR_OPEN = datetime(2025, 10, 17, 20, 0, tzinfo=UTC)
PRICE = "6500.25"
TIMEOUT_S = 5.0
PAUSE_S = 0.2
# Signals that were acknowledged this long before an outage are sent again after it.
REPEAT_S = 60.0


@dataclass
class Published:
    """One signal: its key and time, when it was first acknowledged, and under which sequences."""

    key: str
    event_at: datetime
    acknowledged: float | None = None
    sequences: list[int] = field(default_factory=list)


class Publisher:
    """A thread that publishes until `stop`. Times are `time.time()`."""

    def __init__(self, url: str, key: str, rate: float) -> None:
        self._client = httpx.Client(
            base_url=f"{url}/api", headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S
        )
        self._every_s = 1 / rate
        self._stopping = threading.Event()
        self.signals: list[Published] = []
        self.refused: list[str] = []
        self._thread = threading.Thread(target=self._run, name="publisher")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the last signal is acknowledged, or refused."""
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            number = len(self.signals)
            signal = Published(f"rehearsal-{number}", BAR_OPEN + timedelta(milliseconds=number))
            self.signals.append(signal)
            began = time.time()
            if self._publish(signal):
                self._repeat(since=began - REPEAT_S)
            due = max(due + self._every_s, time.monotonic() - self._every_s)
            time.sleep(max(0.0, due - time.monotonic()))

    def _repeat(self, since: float) -> None:
        """Sends the last signals again, in order. Those that the server knows are not published twice."""
        for signal in self.signals[:-1]:
            if signal.acknowledged is not None and signal.acknowledged > since:
                self._publish(signal)

    def _publish(self, signal: Published) -> bool:
        """Sends until there is an answer that stays; returns whether there was an outage before it."""
        body = {
            "symbol": SYMBOL, "side": "LONG", "price": PRICE, "event_at": signal.event_at.isoformat(),
        }  # fmt: skip
        failed = False
        while True:
            try:
                answer = self._client.post("/signals", json=body, headers={"Idempotency-Key": signal.key})
            except httpx.TransportError:
                failed = True
            else:
                if answer.is_success:
                    sequence = answer.json()["sequence"]
                    if sequence not in signal.sequences:
                        signal.sequences.append(sequence)
                    signal.acknowledged = signal.acknowledged or time.time()
                    return failed
                if answer.status_code not in (429,) and answer.status_code < 500:
                    self.refused.append(f"{signal.key}: {answer.status_code} {answer.text}")
                    return failed
                failed = True
            time.sleep(PAUSE_S)
