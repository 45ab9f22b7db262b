"""Measures what a hundred market states cost in one call, compared with one state."""

import statistics
import time
from dataclasses import dataclass

from loadtests.bench import market
from loadtests.bench.connection import Connection
from loadtests.bench.market import PATH
from loadtests.bench.side import Side

BATCH_PATH = f"{PATH}/batch"
STATES = 100
CALLS = 40


@dataclass(frozen=True)
class BatchCost:
    """Medians in ms of uncached answers on one connection; `status` is that of the last batch."""

    one_ms: float
    batch_ms: float
    status: int

    @property
    def times(self) -> float:
        return self.batch_ms / self.one_ms if self.status == 200 else float("inf")


def measure(side: Side) -> BatchCost:
    """Asks for one state and for a hundred in turn, none of them asked before."""
    key = side.keys[0]
    single = Connection(("127.0.0.1", side.port), market.request_head(PATH, side.port, key))
    many = Connection(("127.0.0.1", side.port), market.request_head(BATCH_PATH, side.port, key))
    ones, batches, status = [], [], 0
    for _ in range(CALLS):
        seconds, _status = _ask(single, market.body(side.fresh(1)[0]))
        ones.append(seconds)
        states = b",".join(market.body(number) for number in side.fresh(STATES))
        seconds, status = _ask(many, b'{"states": [%b]}' % states)
        batches.append(seconds)
    single.socket.close()
    many.socket.close()
    return BatchCost(statistics.median(ones) * 1e3, statistics.median(batches) * 1e3, status)


def _ask(connection: Connection, body: bytes) -> tuple[float, int]:
    """Returns the seconds to the whole answer, and its status."""
    connection.socket.setblocking(True)
    began = time.perf_counter()
    connection.socket.sendall(b"%b%d\r\n\r\n%b" % (connection.head, len(body), body))
    while (whole := connection.answer()) is None:
        pass
    return time.perf_counter() - began, int(whole[0][9:12])


def describe(cost: BatchCost) -> str:
    if cost.status != 200:
        return f"{STATES} states in one call: status {cost.status}"
    return (
        f"one state {cost.one_ms:.2f} ms, {STATES} in one call {cost.batch_ms:.2f} ms: {cost.times:.1f} times"
    )
