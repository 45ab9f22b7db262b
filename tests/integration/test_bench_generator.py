"""The load generator against servers that behave and servers that lie."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtests.bench import limiter, market
from loadtests.bench.processes import server
from loadtests.bench.side import Side, run
from local.stack.ports import free_ports

# What a server answers to the n-th request: status, extra header lines, confidence, cached, age_ms.
Reply = Callable[[int, dict[str, object]], tuple[int, str, float, bool, int]]
EXPECTED = [0.25] * market.STATES


@contextmanager
def answering(reply: Reply, delay_s: float = 0.0) -> Iterator[int]:
    """A server in a thread; its port."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split()[0])
                asked = json.loads(await reader.readexactly(length))
                count += 1
                status, headers, confidence, cached, age_ms = reply(count, asked)
                body = json.dumps(
                    {"confidence": confidence, "symbol": asked["symbol"], "cached": cached, "age_ms": age_ms}
                ).encode()
                if delay_s:
                    await asyncio.sleep(delay_s)
                writer.write(
                    f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
                )
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:

        def stop() -> None:
            listening.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.call_soon(loop.stop)

        loop.call_soon_threadsafe(stop)
        thread.join()
        loop.close()


def side(port: int) -> Side:
    return Side("under test", os.getpid(), port, ["key"] * 4, EXPECTED)


def test_a_server_that_answers_right_is_found_right() -> None:
    with answering(lambda _n, _asked: (200, "", 0.25, False, 0)) as port:
        found = run(side(port), fresh_share=1.0, connections=4, seconds=1.0)
    assert (found.wrong, found.errors, found.hit_share) == (0, {}, 0.0)
    assert found.requests > 50
    assert 0 < found.p50_ms <= found.p95_ms <= found.p99_ms
    assert found.cpu_us > 0


@pytest.mark.parametrize("fresh_share", [0.01, 1.0])
def test_a_wrong_confidence_is_found(fresh_share: float) -> None:
    with answering(lambda n, _asked: (200, "", 0.26 if n == 20 else 0.25, False, 0)) as port:
        found = run(side(port), fresh_share=fresh_share, connections=4, seconds=1.0)
    assert found.wrong == 1


def test_an_age_over_two_seconds_is_found() -> None:
    with answering(lambda n, _asked: (200, "", 0.25, n > 1, 2_001 if n == 20 else 0)) as port:
        found = run(side(port), fresh_share=0.0, connections=4, seconds=1.0)
    assert found.wrong == 1


def test_a_cache_that_never_computes_anew_is_found_whatever_age_it_tells() -> None:
    with answering(lambda _n, _asked: (200, "", 0.25, True, 0)) as port:
        found = run(side(port), fresh_share=0.0, connections=4, seconds=2.5)
    assert found.wrong > 0


def test_other_statuses_are_counted_by_themselves() -> None:
    with answering(lambda n, _asked: (500 if n % 10 == 0 else 200, "", 0.25, False, 0)) as port:
        found = run(side(port), fresh_share=1.0, connections=4, seconds=1.0)
    assert abs(found.errors["500"] - found.requests / 10) <= 4


def test_hits_are_kept_at_the_share_asked_for() -> None:
    computed: dict[str, float] = {}

    def cache(_n: int, asked: dict[str, object]) -> tuple[int, str, float, bool, int]:
        key, now = json.dumps(asked), time.monotonic()
        cached = now - computed.get(key, -9.0) < 1.9
        if not cached:
            computed[key] = now
        return 200, "", 0.25, cached, 0

    with answering(cache) as port:
        found = run(side(port), fresh_share=0.1, connections=4, seconds=1.5)
    assert 0.88 < found.hit_share < 0.92
    assert found.wrong == 0


def test_in_open_loop_the_queue_before_a_slow_server_counts() -> None:
    """One connection serves 20 a second at most; at 40 a second for a second the last waits a second."""
    with answering(lambda _n, _asked: (200, "", 0.25, False, 0), delay_s=0.05) as port:
        slow = run(side(port), fresh_share=1.0, connections=1, seconds=1.0, rate=40.0)
        quick = run(side(port), fresh_share=1.0, connections=4, seconds=1.0, rate=20.0)
    assert slow.requests == 40
    assert slow.p99_ms > 700
    assert quick.p99_ms < 400


@pytest.mark.parametrize(("let_through", "holds"), [(100, True), (101, False), (99, False)])
def test_the_limiter_is_held_to_its_exact_number(let_through: int, holds: bool) -> None:
    def limit(n: int, _asked: dict[str, object]) -> tuple[int, str, float, bool, int]:
        if n > let_through:
            return 429, "", 0.25, False, 0
        return 200, f'RateLimit: "default";r={100 - n};t=60\r\n', 0.25, True, 0

    with answering(limit) as port:
        proof = limiter.prove("127.0.0.1", port, "key", 100, seconds=1.0)
    assert (proof.let_through, proof.holds) == (let_through, holds)


def test_a_quota_told_twice_fails_the_proof() -> None:
    def limit(n: int, _asked: dict[str, object]) -> tuple[int, str, float, bool, int]:
        if n > 100:
            return 429, "", 0.25, False, 0
        return 200, f'RateLimit: "default";r={100 - max(n, 2)};t=60\r\n', 0.25, True, 0

    with answering(limit) as port:
        assert not limiter.prove("127.0.0.1", port, "key", 100, seconds=1.0).holds


def test_the_bare_echo_is_served_by_our_host(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    arguments = ["-m", "local.host", "http", "--app", "loadtests.baseline.echo:app", "--port", str(port)]
    with server([*arguments, "--workers", "1"], {}, tmp_path / "echo.log", port) as pid:
        echo = Side("echo", pid, port, ["key"], [])
        found = run(echo, fresh_share=0.0, connections=8, seconds=1.0)
    assert (found.errors, found.wrong) == ({}, 0)
    assert found.requests > 200
