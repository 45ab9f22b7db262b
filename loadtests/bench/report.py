"""Writes docs/performance.md from the figures of one run."""

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from loadtests.bench import latency_plot
from loadtests.bench.figures import Figures
from loadtests.bench.side import HOT_STATES, Measured
from loadtests.bench.targets import targets
from loadtests.bench.worker.cost import CONCURRENCY, KEYS, WorkerCost
from loadtests.bench.worker.process import Cost, Round

PLOT = "latency.svg"
FLAME = "hot_path.svg"
# The server under the local host (local/host).
HOST_SERVER = "uvicorn"
VERSIONS = (
    "azure-functions-runtime",
    "azure-functions",
    "redis",
    "hiredis",
    "onnxruntime",
    "fastapi",
    "uvicorn",
    "httptools",
    "uvloop",
    "sqlalchemy",
    "slowapi",
)
_HEAD = "| side | requests/s | p50 / p95 / p99 ms | CPU us a request | times the baseline |"


def summary(figures: Figures) -> str:
    """Returns the medians of the first two parts and the targets, for a terminal."""
    lines = [*_worker_table(figures.worker), "", *_hot_path_tables(figures), ""]
    return "\n".join([*lines, *map(str, targets(figures)), f"took {figures.took_s:.0f} s"])


def write(figures: Figures, directory: Path) -> None:
    """Overwrites performance.md and the plot in `directory`."""
    latency_plot.draw(figures.curves, directory / PLOT)
    (directory / "performance.md").write_text(
        "\n".join(document(figures, directory)) + "\n", encoding="utf-8"
    )


def document(figures: Figures, directory: Path) -> Iterator[str]:
    """Yields the lines of performance.md."""
    yield "# Performance"
    yield ""
    yield (
        "`make bench` writes this page. The first table ran without a server, in one process under "
        "`azure-functions-runtime`, the library with which Microsoft's Python worker runs functions. In the "
        f"tables after it, our rows and the echo ran on the local development host, which is built on "
        f"{HOST_SERVER}, and the baseline ran on uvicorn. Azure runs neither server: there, the Functions "
        "host receives HTTP and sends each request to the worker over gRPC, which no figure here includes. "
        "Ratios carry over to another machine, times do not: all sides ran on the same machine, in turn, "
        f"{figures.rounds} rounds, and each figure is the median of its rounds."
    )
    yield ""
    yield from _worker(figures.worker)
    yield "## The hot path over HTTP: `POST /api/ml/get_confidence`, 100 connections, one server process"
    yield ""
    yield from _hot_path_tables(figures)
    yield ""
    yield f"![Latency against load]({PLOT})"
    yield ""
    if (directory / FLAME).exists():
        yield f"Where the time of a cached answer goes: [{FLAME}]({FLAME}) (`make flame`)."
        yield ""
    yield "## Targets"
    yield ""
    yield "| | wanted | found | |"
    yield "|---|---|---|---|"
    for target in targets(figures):
        verdict = "met" if target.met else "**missed**"
        yield f"| {target.what} | {target.wanted} | {target.found} | {verdict} |"
    yield ""
    yield from _stampede(figures)
    yield from _baseline_errors(figures)
    yield from _other_parts(figures)
    yield from _method(figures)


def _worker(cost: WorkerCost) -> Iterator[str]:
    yield f"## A cached confidence under Microsoft's worker library, {CONCURRENCY} invocations at once"
    yield ""
    yield from _worker_table(cost)
    yield ""
    times = ", ".join(f"{each:.2f}" for each in cost.each_times_echo)
    own = ", ".join(f"{each:.1f}" for each in cost.each_own_us)
    yield (
        "CPU us is the processor time of the process; wall us is the time that passes, so it includes the "
        f"waits for Redis. The ratio in the first row was {times} in the rounds, the difference in the "
        f"second row {own} us. Both functions are in one process; the echo is an async function that reads "
        "the body and returns the same answer in an `HttpResponse`. "
        f"{KEYS} keys ask for {HOT_STATES} states; {cost.cached_share:.1%} of the confidences were cached. "
        "`python -m loadtests.bench.worker` measures this part alone. A bot that sends its Session-Id costs "
        f"{cost.session_times:.3f} times one without ({cost.session_us:+.2f} us called directly); the counts "
        f"of misuse are {cost.counted_us:+.2f} us of the second row."
    )
    yield ""


def _worker_table(cost: WorkerCost) -> Iterator[str]:
    def row(name: str, echo: Callable[[Round], Cost], ours: Callable[[Round], Cost], compared: str) -> str:
        figures = (
            cost.median(lambda each: echo(each).cpu_us),
            cost.median(lambda each: ours(each).cpu_us),
            cost.median(lambda each: echo(each).wall_us),
            cost.median(lambda each: ours(each).wall_us),
        )
        return f"| {name} | {' | '.join(f'{figure:.1f}' for figure in figures)} | {compared} |"

    yield "| | echo, CPU us | confidence, CPU us | echo, wall us | confidence, wall us | CPU against echo |"
    yield "|---|---|---|---|---|---|"
    yield row(
        "through the library",
        lambda each: each.library_echo,
        lambda each: each.library_confidence,
        f"{cost.times_echo:.2f} times",
    )
    yield row(
        "the function called directly",
        lambda each: each.direct_echo,
        lambda each: each.direct_confidence,
        f"{cost.own_us:.1f} us more",
    )


def _hot_path_tables(figures: Figures) -> Iterator[str]:
    yield "99% of answers cached:"
    yield ""
    yield from _table(figures.baseline.hits, figures.ours.hits)
    yield _row("bare echo of the same answer, local host", figures.echo, figures.baseline.hits)
    yield ""
    yield "No answer cached, because each state is new:"
    yield ""
    yield from _table(figures.baseline.misses, figures.ours.misses)


def _table(baseline: Measured, ours: Measured) -> Iterator[str]:
    yield _HEAD
    yield "|---|---|---|---|---|"
    yield _row("baseline, uvicorn", baseline, baseline)
    yield _row("Signal Cloud, local host", ours, baseline)


def _row(name: str, measured: Measured, baseline: Measured) -> str:
    return (
        f"| {name} | {measured.per_second:,.0f} | {measured.p50_ms:.1f} / {measured.p95_ms:.1f} / "
        f"{measured.p99_ms:.1f} | {measured.cpu_us:,.0f} | {measured.per_second / baseline.per_second:.1f} |"
    )


def _stampede(figures: Figures) -> Iterator[str]:
    flight = figures.stampede
    if isinstance(flight, str):
        return
    yield (
        f"Stampede: {flight.callers} connections over 4 workers ask for one uncached state at once. "
        f"The last answer came {flight.last_ms:.1f} ms after the first request (median). The last of as many "
        f"cached answers, asked right afterwards, came after {flight.floor_ms:.1f} ms, because this machine "
        f"needs that long for so many answers. The median of the differences is {flight.late_ms:.1f} ms. "
        f"One uncached answer on the idle server takes {flight.single_ms:.1f} ms. The first plan was three "
        f"times that for all {flight.callers} answers, but even without an evaluation they take "
        f"{flight.floor_ms / flight.single_ms:.0f} times as long, so the target is what the stampede adds."
    )
    yield ""


def _baseline_errors(figures: Figures) -> Iterator[str]:
    hits, misses = figures.baseline.hits, figures.baseline.misses
    yield (
        f"Of the baseline's {hits.requests + misses.requests:,} answers, {hits.wrong + misses.wrong} were "
        "judged wrong or more than two seconds old. All that were looked into were old: the baseline stamps "
        "a value when it computes it, but the value's two seconds in Redis begin when the SET arrives there, "
        "after everything else that waits in the event loop."
    )
    yield ""


def _other_parts(figures: Figures) -> Iterator[str]:
    yield "## Bots, pushes and writes"
    yield ""
    yield (
        "Locust's users on four workers. Locust is one process on this machine, so the times include its own "
        "limits:"
    )
    yield ""
    yield "| scenario | users | requests | failed | p50 / p95 / p99 ms |"
    yield "|---|---|---|---|---|"
    for each in figures.scenarios:
        yield (
            f"| {each.name} | {each.users:,} | {each.requests:,} | {each.failures} | "
            f"{each.p50_ms:.0f} / {each.p95_ms:.0f} / {each.p99_ms:.0f} |"
        )
    yield ""
    delivery, writes = figures.delivery, figures.writes
    yield (
        f"Fan-out: {delivery.subscribers:,} reliable subscribers of one group on the Web PubSub stand-in, "
        f"ten messages a second: p50 {delivery.p50_ms:.1f} ms, p99 {delivery.p99_ms:.1f} ms from the call to "
        f"the frame, {delivery.deliveries:,} deliveries."
    )
    yield ""
    yield (
        f"Trades: {writes.batched:,.0f} rows/s in batches of 500 (durable), {writes.single:,.0f} as single "
        f"inserts through the same pool, {writes.bare_copy:,.0f} by a bare COPY. A page deep in "
        f"{figures.paged_trades:,} trades costs at most {figures.slowest_page:.2f} times the first."
    )
    yield ""


def _method(figures: Figures) -> Iterator[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    yield "## How it is measured"
    yield ""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    yield f"- Machine: {_processors()}; {system}; {versions}."
    yield (
        "- The process under test has one processor to itself; PostgreSQL, Valkey, Azurite and the load "
        "generator share the others. A server's CPU time is that of all its processes and threads, as the "
        "operating system counts it."
    )
    yield (
        "- Under the worker library, each invocation is a task of its own on asyncio's loop, as in "
        "Microsoft's worker. Its message is made before the measured time. The worker's logging is off."
    )
    yield (
        "- The baseline (`loadtests/baseline/app.py`) is FastAPI, slowapi, SQLAlchemy, redis-py and "
        "scikit-learn on uvicorn with uvloop and httptools, asynchronous, with pooled connections. Both "
        "sides learn a model of the same kind from the same trades, and write a line of access log a request."
    )
    yield (
        f"- 99% hits: the generator asks for {HOT_STATES} states again and again, and for a new one whenever "
        "less than 1% of the answers were computed. 0% hits: every state is new. Each connection is a bot "
        "with its own key."
    )
    yield (
        "- The generator is one process over raw sockets with requests made beforehand "
        f"(it uses {figures.ours.hits.generator_busy:.0%} of its processor against ours, "
        f"{figures.echo.generator_busy:.0%} against the echo). It judges every answer: its status, the "
        "confidence that the stored model gives for that state, and an age of at most two seconds, both as "
        "the answer states it and as the generator itself last saw an answer that was computed."
    )
    yield (
        "- The plot is open loop: requests fall due at an even rate whether the server keeps up or not, and "
        "the time spent waiting for a free connection counts. Each side gets a second of load first."
    )
    yield f"- The run took {figures.took_s / 60:.1f} minutes."


def _processors() -> str:
    """Returns the number and model of this machine's processors."""
    model = "unknown processor"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{os.cpu_count()} processors, {model}"
