"""Proves single flight: hundreds of callers ask for one uncached state at once, over all workers of a host.

    python -m loadtests.bench.stampede --port 7071 --keys .local/load_keys.txt

SIGNAL_CLOUD_OPS_KEY is a key with the scope `ops`. Exactly one evaluation may happen, by the server's own
count in GET /api/status, and the last answer must come soon. For comparison it measures one uncached answer
on the idle server, and how long the machine takes to answer as many callers from the cache.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import operator
import os
import selectors
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from loadtests.bench import market
from loadtests.bench.connection import SILENCE_S, Connection
from loadtests.bench.market import PATH
from shared.settings_reader import SettingsReader

CALLERS = 500
ROUNDS = 5  # the evaluations of each are counted alone
TIMED_ROUNDS = 120  # so many because single rounds vary widely
SINGLES = 30
COUNTER = "confidence_computed"
# Processes add their counts to the shared ones about once a second.
COUNTED_WITHIN_S = 5.0


class Unmeasurable(Exception):
    """The server does not report what is measured; the text says what is missing."""


class _Answer(msgspec.Struct):
    confidence: float


_decode = msgspec.json.Decoder(_Answer).decode


@dataclass(frozen=True)
class StampedeProof:
    """Evaluations of each round (1 is right) and of all timed rounds together, and medians in ms.

    `late_ms` is the delay of a timed round's last answer behind that of as many cached ones, asked right
    afterwards.
    """

    callers: int
    evaluations: list[int]
    timed_evaluations: int
    last_ms: float
    single_ms: float
    floor_ms: float
    late_ms: float
    values_differ: bool
    errors: int

    @property
    def is_single_flight(self) -> bool:
        return set(self.evaluations) == {1} and self.timed_evaluations == TIMED_ROUNDS


def prove(port: int, keys: Sequence[str], ops_key: str, states: Sequence[int]) -> StampedeProof:
    """Runs every round on other states of `states`, none of which may be cached. Raises Unmeasurable."""
    connections = [
        Connection(("127.0.0.1", port), market.request_head(PATH, port, keys[number % len(keys)]))
        for number in range(CALLERS)
    ]
    fresh = iter(states)
    last, floors, evaluations = [], [], []
    every: list[_Volley] = []
    # Two volleys, so that the worker of each connection has loaded the key, the model and the code.
    _volley(connections, market.body(next(fresh)))
    _volley(connections, market.body(next(fresh)))
    singles = [
        _volley(connections[number : number + 1], market.body(next(fresh))) for number in range(SINGLES)
    ]
    before = _settled_count(port, ops_key)
    for _ in range(ROUNDS):
        every.append(_volley(connections, market.body(next(fresh))))
        after = _settled_count(port, ops_key)
        evaluations.append(after - before)
        before = after
    for _ in range(TIMED_ROUNDS):
        body = market.body(next(fresh))
        every.append(_volley(connections, body))
        last.append(every[-1].took_s)
        floors.append(_volley(connections, body).took_s)
    timed_evaluations = _settled_count(port, ops_key) - before
    for connection in connections:
        connection.socket.close()
    return StampedeProof(
        callers=CALLERS,
        evaluations=evaluations,
        timed_evaluations=timed_evaluations,
        last_ms=statistics.median(last) * 1e3,
        single_ms=statistics.median(single.took_s for single in singles) * 1e3,
        floor_ms=statistics.median(floors) * 1e3,
        late_ms=statistics.median(map(operator.sub, last, floors)) * 1e3,
        values_differ=any(len(volley.values) != 1 for volley in every),
        errors=sum(volley.errors for volley in every),
    )


@dataclass(frozen=True)
class _Volley:
    """One request on each connection; `took_s` is from the first request to the last answer."""

    took_s: float
    values: set[float]
    errors: int


def _volley(connections: Sequence[Connection], body: bytes) -> _Volley:
    """Asks on all connections at once and waits for every answer."""
    values: set[float] = set()
    errors = 0
    requests = [b"%b%d\r\n\r\n%b" % (connection.head, len(body), body) for connection in connections]
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        began = time.perf_counter()
        for connection, request in zip(connections, requests, strict=True):
            connection.socket.send(request)
        left = len(connections)
        while left:
            ready = selector.select(SILENCE_S)
            if not ready:
                raise TimeoutError(f"{left} callers got no answer")
            for key, _ in ready:
                whole = key.data.answer()
                if whole is None:
                    continue
                left -= 1
                if whole[0].startswith(b"http/1.1 200"):
                    values.add(_decode(whole[1]).confidence)
                else:
                    errors += 1
        return _Volley(time.perf_counter() - began, values, errors)


def _settled_count(port: int, ops_key: str) -> int:
    """Returns the server's count of evaluations, once two readings a second apart agree."""
    deadline = time.monotonic() + COUNTED_WITHIN_S
    former = -1
    while True:
        answer = httpx.get(
            f"http://127.0.0.1:{port}/api/status", headers={"Authorization": f"Bearer {ops_key}"}, timeout=10
        )
        answer.raise_for_status()
        counts = answer.json()["counts"] or {}
        if COUNTER not in counts:
            raise Unmeasurable(f"GET /api/status does not count {COUNTER}")
        count = int(counts[COUNTER])
        if count == former:
            return count
        if time.monotonic() > deadline:
            raise Unmeasurable(f"{COUNTER} keeps rising: something else asks this server")
        former = count
        time.sleep(1.3)


def describe(proof: StampedeProof) -> str:
    return (
        f"{proof.callers} callers at once, evaluations {proof.evaluations} and {proof.timed_evaluations} in "
        f"{TIMED_ROUNDS}; last answer after {proof.last_ms:.1f} ms, of {proof.callers} cached ones "
        f"{proof.floor_ms:.1f} ms, {proof.late_ms:.1f} ms between them; one uncached answer "
        f"{proof.single_ms:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.stampede", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--keys", type=Path, default=Path(".local/load_keys.txt"), help="%(default)s")
    options = parser.parse_args()
    ops_key = SettingsReader(os.environ).text("SIGNAL_CLOUD_OPS_KEY", "")
    if not ops_key:
        parser.error("SIGNAL_CLOUD_OPS_KEY is not set")  # never an argument, which every user can read
    try:
        keys = options.keys.read_text().split()
    except OSError as error:
        parser.error(f"--keys {options.keys} cannot be read ({error.strerror}): one API key a line")
    proof = prove(options.port, keys, ops_key, market.shuffled_states(seed=int(time.time())))
    print(describe(proof))
    raise SystemExit(0 if proof.is_single_flight and not proof.errors else 1)


if __name__ == "__main__":
    main()
