"""Generates load from one process: many keep-alive HTTP/1.1 connections in one loop over raw sockets.

`python -m loadtests.bench.generator` reads a Plan (MessagePack) on standard input, runs it, and writes an
Outcome on standard output. An HTTP client library would use more processor time than the server under test;
this loop uses little more than the system calls. It reads, decodes and judges every answer.

Closed loop (`rate` 0): each connection asks again as soon as it has its answer. Open loop: requests fall due
at `rate` a second however slow the server is. A request that finds no free connection counts its latency from
the time when it fell due, so that a slow server cannot hide its queue.
"""

import array
import os
import selectors
import sys
import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from loadtests.bench.connection import SILENCE_S, Connection, quota
from loadtests.bench.freshness import MAX_AGE_S, Freshness
from loadtests.bench.processes import place


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run. A request is `heads[c % len(heads)]`, the length of its body, and the body.

    The run asks for `hot` bodies again and again, and for `fresh` ones once each; it asks for a fresh one
    whenever less than `fresh_share` of the answers were computed. Answers in the first `settle_s` are judged
    but not counted. `quotas` records the number of requests left that each answer states. A `bare` server
    always gives the same answer, so only its status is judged. `cpus` pins the process.
    """

    host: str
    port: int
    heads: list[bytes]
    hot: list[bytes]
    fresh: list[bytes]
    fresh_share: float
    connections: int
    seconds: float
    settle_s: float = 0.3
    rate: float = 0.0
    quotas: bool = False
    bare: bool = False
    cpus: list[int] = []


class Outcome(msgspec.Struct, kw_only=True):
    """What a run saw. `latencies` are seconds, the bytes of an array('d'), of answers after settling.

    `requests` counts every answer, `counted` those after settling within `span_s`. `hot_values` holds
    the distinct confidences of each hot body, `fresh_values` that of each fresh body in the order asked.
    `errors` counts by status, or by what was wrong with a 200; `stale` counts answers older than
    MAX_AGE_S; `exhausted` says that fresh bodies ran out and were asked again.
    """

    requests: int = 0
    counted: int = 0
    not_cached: int = 0
    span_s: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    latencies: bytes = b""
    hot_values: list[list[float]] = []
    fresh_values: list[tuple[int, float]] = []
    errors: dict[str, int] = {}
    stale: int = 0
    quotas: list[int] = []
    exhausted: bool = False


class _Confidence(msgspec.Struct):
    confidence: float
    symbol: str
    cached: bool
    age_ms: int


class _Run:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcome = Outcome(hot_values=[])
        self.errors: Counter[str] = Counter()
        self.freshness = Freshness()
        self.latencies = array.array("d")
        self.hot_values: list[set[float]] = [set() for _ in plan.hot]
        self.decode = msgspec.json.Decoder(_Confidence).decode
        self.next_hot = 0
        self.next_fresh = 0
        self.fresh_in_flight = 0
        self.counting_from = 0.0

    def ask(self, connection: Connection, started_at: float) -> None:
        plan, outcome = self.plan, self.outcome
        wanted = plan.fresh_share * (outcome.requests + plan.connections)
        if plan.fresh and (not plan.hot or outcome.not_cached + self.fresh_in_flight < wanted):
            if self.next_fresh >= len(plan.fresh):
                outcome.exhausted = True
                self.next_fresh = 0
            connection.index = -1 - self.next_fresh
            connection.body = plan.fresh[self.next_fresh]
            self.next_fresh += 1
            self.fresh_in_flight += 1
        else:
            connection.index = self.next_hot
            connection.body = plan.hot[self.next_hot]
            self.next_hot = (self.next_hot + 1) % len(plan.hot)
        body = connection.body
        connection.sent_at = started_at
        request = b"%b%d\r\n\r\n%b" % (connection.head, len(body), body)
        if connection.socket.send(request) != len(request):
            raise ConnectionError("a request did not fit the socket's buffer")

    def judge(self, connection: Connection, head: bytes, body: bytes, now: float) -> None:
        outcome = self.outcome
        outcome.requests += 1
        index = connection.index
        if index < 0:
            self.fresh_in_flight -= 1
        if now >= self.counting_from:
            outcome.counted += 1
            self.latencies.append(now - connection.sent_at)
        if not head.startswith(b"http/1.1 200"):
            self.errors[head[9:12].decode("latin-1")] += 1
            return
        if self.plan.bare:
            return
        if self.plan.quotas:
            outcome.quotas.append(quota(head))
        try:
            answer = self.decode(body)
        except msgspec.DecodeError:
            self.errors["body"] += 1
            return
        if b'"%b"' % answer.symbol.encode() not in connection.body:
            self.errors["symbol"] += 1
        if answer.cached:
            if answer.age_ms > MAX_AGE_S * 1_000:
                outcome.stale += 1
            self.freshness.cached(index, connection.sent_at)
        else:
            outcome.not_cached += 1
            self.freshness.computed(index, now)
        if index < 0:
            outcome.fresh_values.append((-1 - index, answer.confidence))
        else:
            self.hot_values[index].add(answer.confidence)

    def run(self) -> Outcome:
        plan = self.plan
        address = (plan.host, plan.port)
        connections = [
            Connection(address, plan.heads[number % len(plan.heads)]) for number in range(plan.connections)
        ]
        cpu = time.process_time()
        began = time.perf_counter()
        self.counting_from = began + plan.settle_s
        with selectors.DefaultSelector() as selector:
            for connection in connections:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            ended = (self._closed if plan.rate <= 0 else self._open)(selector, connections, began)
        for connection in connections:
            connection.socket.close()
        outcome = self.outcome
        outcome.wall_s = ended - began
        outcome.span_s = ended - self.counting_from
        outcome.cpu_s = time.process_time() - cpu
        outcome.latencies = self.latencies.tobytes()
        outcome.hot_values = [sorted(values) for values in self.hot_values]
        outcome.errors = dict(self.errors)
        outcome.stale += self.freshness.stale(began)
        return outcome

    def _closed(self, selector: selectors.BaseSelector, connections: list[Connection], began: float) -> float:
        """Keeps one request under way on every connection; returns the time of the last answer."""
        ends = began + self.plan.seconds
        clock: Callable[[], float] = time.perf_counter
        for connection in connections:
            self.ask(connection, clock())
        while (now := clock()) < ends:
            self._answers(selector, SILENCE_S, now, lambda connection: self.ask(connection, clock()))
        return now

    def _open(self, selector: selectors.BaseSelector, connections: list[Connection], began: float) -> float:
        """Sends requests when they fall due, evenly; returns when the last one has its answer."""
        count = int(self.plan.rate * self.plan.seconds)
        asked = 0
        free = deque(connections)

        def freed(connection: Connection) -> None:
            connection.free_at = time.perf_counter()
            free.append(connection)

        while asked < count or len(free) < len(connections):
            now = time.perf_counter()
            while free and asked < count and (due := began + asked / self.plan.rate) <= now:
                connection = free.popleft()
                # If a connection was free in time, this process itself was late, not the server.
                self.ask(connection, due if connection.free_at > due else time.perf_counter())
                asked += 1
            wait_s = began + asked / self.plan.rate - now if free and asked < count else SILENCE_S
            if now - began > self.plan.seconds + SILENCE_S:
                self.errors["unanswered"] += len(connections) - len(free)
                break
            self._answers(selector, max(0.0, wait_s), now, freed)
        return time.perf_counter()

    def _answers(
        self,
        selector: selectors.BaseSelector,
        timeout_s: float,
        now: float,
        then: Callable[[Connection], None],
    ) -> None:
        ready = selector.select(timeout_s)
        if not ready and timeout_s >= SILENCE_S:
            raise TimeoutError(f"no answer on any connection for {SILENCE_S:.0f} s")
        for key, _ in ready:
            connection: Connection = key.data
            whole = connection.answer()
            if whole is not None:
                self.judge(connection, *whole, time.perf_counter())
                then(connection)


def main() -> None:
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    place(os.getpid(), plan.cpus)
    sys.stdout.buffer.write(msgspec.msgpack.encode(_Run(plan).run()))


if __name__ == "__main__":
    main()
