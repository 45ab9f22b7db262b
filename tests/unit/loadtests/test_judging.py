"""The bench's own judgement: what it calls wrong, stale, met and missed."""

import itertools
import math
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench import market
from loadtests.bench.app_start import AppStart
from loadtests.bench.batch import BatchCost
from loadtests.bench.bulk_writes import WriteRates
from loadtests.bench.connection import Connection, quota
from loadtests.bench.figures import Delivery, Figures, Side99And0, medians
from loadtests.bench.freshness import Freshness
from loadtests.bench.limiter import LimiterProof
from loadtests.bench.report import document
from loadtests.bench.side import Measured, percentile
from loadtests.bench.stampede import TIMED_ROUNDS, StampedeProof
from loadtests.bench.targets import targets
from loadtests.bench.worker.cost import WorkerCost
from loadtests.bench.worker.process import Cost, Round
from loadtests.locust.run import BadOption, Scenario, arguments
from tests.support.strategies import STATES


def measured(
    per_second: float = 1_000.0, p50_ms: float = 1.0, p99_ms: float = 2.0, wrong: int = 0
) -> Measured:
    return Measured(
        requests=1_000,
        per_second=per_second,
        p50_ms=p50_ms,
        p95_ms=2.0,
        p99_ms=p99_ms,
        cpu_us=100.0,
        helper_cpu_us=5.0,
        generator_busy=0.2,
        hit_share=0.99,
        wrong=wrong,
        errors={},
    )


def side_cost(cpu_us: float, uncached: int = 0) -> Cost:
    return Cost(calls=1_000, uncached=uncached, wall_s=0.2, cpu_s=cpu_us / 1_000)


def one_round(
    confidence_us: float = 64.0, direct_us: float = 29.0, uncached: int = 0, session_us: float | None = None
) -> Round:
    """A round whose echo takes 50 us through the library and 10 us when it is called directly."""
    return Round(
        library_echo=side_cost(50.0),
        library_confidence=side_cost(confidence_us, uncached),
        library_session=side_cost(session_us or confidence_us),
        direct_echo=side_cost(10.0),
        direct_confidence=side_cost(direct_us),
        direct_session=side_cost(direct_us),
        direct_uncounted=side_cost(direct_us),
    )


def worker_cost(confidence_us: float = 64.0, direct_us: float = 29.0, wrong: int = 0) -> WorkerCost:
    return WorkerCost([one_round(confidence_us, direct_us)], wrong)


def a_stampede(**found: Any) -> StampedeProof:
    right: dict[str, Any] = {
        "callers": 500,
        "evaluations": [1, 1, 1],
        "timed_evaluations": TIMED_ROUNDS,
        "last_ms": 30.0,
        "single_ms": 15.0,
        "floor_ms": 29.0,
        "late_ms": 1.0,
        "values_differ": False,
        "errors": 0,
    }
    return StampedeProof(**right | found)


def figures(
    ours: Measured,
    *,
    misses: Measured | None = None,
    worker: WorkerCost | None = None,
    stampede: StampedeProof | str | None = None,
    let_through: int = 100,
    failed: int = 0,
    lost: int = 0,
    writes: WriteRates | None = None,
    slowest_page: float = 1.5,
) -> Figures:
    """A run whose baseline answers 100 requests a second."""
    slow = measured(per_second=100, p50_ms=50, p99_ms=100)
    return Figures(
        rounds=1,
        worker=worker or worker_cost(),
        baseline=Side99And0(slow, slow),
        ours=Side99And0(ours, misses or measured(per_second=2_500)),
        echo=measured(per_second=4_000),
        every={("ours", "99% hits"): [ours]},
        curves=[],
        limiter=[LimiterProof(100, let_through, 5_000, {}, quotas_exact=True)],
        stampede=stampede or a_stampede(),
        scenarios=[Scenario("bots", 100, 10_000, failed, 5.0, 9.0, 12.0, [])],
        batch=BatchCost(1.0, 2.0, 200),
        start=AppStart(0.3, 60.0, 20),
        delivery=Delivery(1_000, 100_000, lost, 12.0, 21.0),
        writes=writes or WriteRates(1_000.0, 8_000.0, 16_000.0),
        paged_trades=5_000_000,
        slowest_page=slowest_page,
        took_s=1.0,
    )


def missed(run: Figures) -> list[str]:
    return [target.what for target in targets(run) if not target.met]


GOOD = measured(per_second=2_000, p50_ms=5, p99_ms=20)


def test_a_run_that_reaches_every_target_meets_all() -> None:
    assert missed(figures(GOOD)) == []


@pytest.mark.parametrize(
    ("run", "what"),
    [
        (figures(GOOD, worker=worker_cost(confidence_us=66.0)), "times an echo"),
        (figures(GOOD, worker=worker_cost(direct_us=31.0)), "own share"),
        (figures(GOOD, worker=worker_cost(wrong=1)), "wrong confidences"),
        (figures(GOOD, worker=WorkerCost([one_round(60.0, session_us=64.0)], 0)), "holds a session"),
        (figures(GOOD, misses=measured(per_second=2_499)), "throughput at 0%"),
        (figures(GOOD, misses=measured(per_second=2_500, p50_ms=1, p99_ms=4.1)), "p99 at 0%"),
        (figures(GOOD, failed=1), "Locust"),
        (figures(GOOD, lost=1), "fan-out"),
        (figures(GOOD, writes=WriteRates(1_000.0, 7_999.0, 15_000.0)), "single inserts"),
        (figures(GOOD, writes=WriteRates(100.0, 7_999.0, 16_000.0)), "COPY"),
        (figures(GOOD, slowest_page=1.51), "slowest page"),
    ],
)
def test_a_miss_is_named(run: Figures, what: str) -> None:
    (missing,) = missed(run)
    assert what in missing


@pytest.mark.parametrize(
    ("ours", "what"),
    [
        (measured(per_second=1_999, p50_ms=5, p99_ms=20), "throughput at 99%"),
        (measured(per_second=2_000, p50_ms=5, p99_ms=20.1), "p99 at 99%"),
        (measured(per_second=2_000, p50_ms=5, p99_ms=20, wrong=1), "wrong"),
    ],
)
def test_each_shortfall_is_named_alone(ours: Measured, what: str) -> None:
    (name,) = missed(figures(ours))
    assert what in name


@pytest.mark.parametrize(
    "stampede",
    [
        "GET /api/status does not count it",
        a_stampede(evaluations=[1, 2, 1]),
        a_stampede(timed_evaluations=41),
        a_stampede(values_differ=True),
        a_stampede(errors=1),
        a_stampede(late_ms=60.0),
    ],
)
def test_a_stampede_that_is_not_proven_is_missed(stampede: StampedeProof | str) -> None:
    (name,) = missed(figures(GOOD, stampede=stampede))
    assert "stampede" in name


def test_one_request_too_many_is_missed() -> None:
    (name,) = missed(figures(GOOD, let_through=101))
    assert "let through" in name


def test_the_worker_s_cost_is_the_median_of_its_rounds() -> None:
    rounds = [one_round(100.0, 90.0), one_round(60.0, 25.0, uncached=100), one_round(55.0, 20.0)]
    cost = WorkerCost(rounds, wrong=0)
    assert cost.times_echo == pytest.approx(1.2)
    assert cost.own_us == pytest.approx(15.0)
    assert cost.cached_share == pytest.approx(1 - 100 / 6_000)


def test_the_report_begins_with_the_worker_library_and_names_every_server(tmp_path: Path) -> None:
    lines = document(figures(GOOD), tmp_path)
    text = "\n".join(itertools.takewhile(lambda line: not line.startswith("## The hot path"), lines))
    first, second = text.split("\n\n")[1:3]
    assert "azure-functions-runtime" in first
    assert "Azure runs neither server" in first
    assert second.startswith("## A cached confidence under Microsoft's worker library")
    assert "| through the library | 50.0 | 64.0 | 200.0 | 200.0 | 1.28 times |" in text
    assert "| the function called directly | 10.0 | 29.0 | 200.0 | 200.0 | 19.0 us more |" in text


def test_errors_of_all_rounds_are_added_up() -> None:
    rounds = [measured(), msgspec.structs.replace(measured(per_second=3_000), errors={"500": 2}, wrong=1)]
    both = medians([*rounds, measured(per_second=2_000)])
    assert (both.per_second, both.errors, both.wrong, both.requests) == (2_000, {"500": 2}, 1, 3_000)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= math.floor(len(ordered) * share)
    assert sum(value < found for value in ordered) < math.ceil(len(ordered) * share)


def test_every_state_has_a_cache_key_of_its_own() -> None:
    numbers = range(0, market.STATES, 97)
    keys = {STATES.read(market.body(number)).cache_key("m") for number in numbers}
    assert len(keys) == len(numbers)
    assert market.state(market.STATES - 1) == ("RTY", "SHORT", 10.0, 100)


class TestFreshness:
    def test_a_cached_answer_within_two_seconds_of_a_computed_one_is_fresh(self) -> None:
        judge = Freshness()
        judge.computed(7, 10.0)
        judge.cached(7, 11.9)
        assert judge.stale(started_at=0.0) == 0

    def test_a_cached_answer_that_nobody_can_have_computed_in_time_is_stale(self) -> None:
        judge = Freshness()
        judge.computed(7, 10.0)
        judge.computed(8, 12.0)
        judge.cached(7, 12.1)
        assert judge.stale(started_at=0.0) == 1

    def test_the_computing_answer_may_arrive_after_the_cached_one(self) -> None:
        judge = Freshness()
        judge.cached(7, 12.1)
        judge.computed(7, 12.2)
        assert judge.stale(started_at=0.0) == 0

    def test_values_from_before_the_run_may_be_two_seconds_old(self) -> None:
        judge = Freshness()
        judge.cached(7, 1.9)
        judge.cached(8, 2.1)
        assert judge.stale(started_at=0.0) == 1


def test_an_answer_is_read_whole_however_it_arrives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = Connection(listening.getsockname(), b"")
        server, _ = listening.accept()
        with server, connection.socket:
            connection.socket.setblocking(True)
            answers = []
            whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{ }\n"
            for piece in (whole[:9], whole[9:30], whole[30:-2], whole[-2:]):
                server.sendall(piece)
                answers.append(connection.answer())
            assert answers[:3] == [None, None, None]
            assert answers[3] == (b"http/1.1 200 ok\r\ncontent-length: 4", b"{ }\n")
            server.close()
            with pytest.raises(ConnectionResetError):
                connection.answer()


def test_quotas_are_read_from_their_header() -> None:
    assert (
        quota(b'http/1.1 200 ok\r\nratelimit: "default";r=42;t=7\r\nratelimit-policy: "default";q=50;w=60')
        == 42
    )
    assert quota(b'http/1.1 200 ok\r\nratelimit-policy: "default";q=50;w=60;r=1') == -1


def test_locust_is_told_where_and_how_much() -> None:
    command = arguments({"HOST": "http://127.0.0.1:7071/", "SCENARIO": "opening_bell", "WORKERS": "4"})
    assert command[command.index("--users") + 1] == "1000"
    assert command[command.index("--processes") + 1] == "4"
    assert command[command.index("--host") + 1] == "http://127.0.0.1:7071"
    assert arguments({"HOST": "https://a", "LOCUST_ARGS": "--worker --master-host b"})[-1] == "b"


@pytest.mark.parametrize(
    "environment",
    [{}, {"HOST": "127.0.0.1"}, {"HOST": "http://a", "USERS": "0"}, {"HOST": "http://a", "SCENARIO": "x"}],
)
def test_what_locust_cannot_be_told_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(BadOption):
        arguments(environment)
