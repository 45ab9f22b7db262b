"""docs/performance.md and its plot, written from the figures of one run."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from loadtests.figures import Curve, Figures
from loadtests.measure import HOT_STATES, Measured
from loadtests.stack import machine

PLOT = "latency.svg"
FLAME = "hot_path.svg"
_HEAD = "| server | requests/s | p50 / p95 / p99 ms | CPU us a request | times the baseline |"


def summary(figures: Figures) -> str:
    """The hot path's medians and the targets, a line each, for a terminal."""
    hot_path = [*_hot_path(figures), ""]
    targets = [
        f"{'met   ' if target.met else 'MISSED'} {target.what}: {target.found} (wanted: {target.wanted})"
        for target in figures.targets()
    ]
    return "\n".join([*hot_path, *targets, f"took {figures.took_s:.0f} s"])


def write(figures: Figures, directory: Path) -> None:
    """Overwrites performance.md and the plot in `directory`."""
    _plot(figures.curves, directory / PLOT)
    (directory / "performance.md").write_text(
        "\n".join(_document(figures, directory)) + "\n", encoding="utf-8"
    )


def _document(figures: Figures, directory: Path) -> Iterator[str]:
    yield "# Performance"
    yield ""
    yield (
        "Written by `make bench`. What carries over to another machine are the ratios: every side ran on the "
        f"same one, in turn, {figures.rounds} rounds, and each figure is the median of its rounds."
    )
    yield ""
    yield "## The hot path: `POST /api/ml/get_confidence`, 100 connections, one server process"
    yield ""
    yield from _hot_path(figures)
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
    for target in figures.targets():
        verdict = "met" if target.met else "**missed**"
        yield f"| {target.what} | {target.wanted} | {target.found} | {verdict} |"
    yield ""
    yield from _proofs(figures)
    yield from _others(figures)
    yield from _method(figures)


def _hot_path(figures: Figures) -> Iterator[str]:
    yield from _table("99% of answers cached", figures, misses=False)
    yield ""
    yield from _table("No answer cached: each state is new", figures, misses=True)


def _table(title: str, figures: Figures, *, misses: bool) -> Iterator[str]:
    baseline = figures.baseline.misses if misses else figures.baseline.hits
    ours = figures.ours.misses if misses else figures.ours.hits
    yield f"{title}:"
    yield ""
    yield _HEAD
    yield "|---|---|---|---|---|"
    yield _row("baseline", baseline, baseline)
    yield _row("Signal Cloud", ours, baseline)
    if not misses:
        yield _row("bare echo of the same answer, same host", figures.echo, baseline)


def _row(name: str, measured: Measured, baseline: Measured) -> str:
    return (
        f"| {name} | {measured.per_second:,.0f} | {measured.p50_ms:.1f} / {measured.p95_ms:.1f} / "
        f"{measured.p99_ms:.1f} | {measured.cpu_us:,.0f} | {measured.per_second / baseline.per_second:.1f} |"
    )


def _proofs(figures: Figures) -> Iterator[str]:
    flight = figures.stampede
    if not isinstance(flight, str):
        yield (
            f"Stampede: {flight.askers} connections over 4 workers ask for one state that nobody has cached. "
            f"The last answer came {flight.last_ms:.1f} ms after the first request (median), and that of as "
            f"many cached answers, asked right after them, {flight.floor_ms:.1f} ms: what this machine needs "
            f"to answer so many. Between the two lie {flight.late_ms:.1f} ms (median of the differences). "
            f"One uncached answer on the idle server takes {flight.single_ms:.1f} ms. Three times that for "
            f"all {flight.askers}, as first wanted, is less than their answers take where nothing is "
            f"evaluated ({flight.floor_ms / flight.single_ms:.0f} times), so the target is on what the "
            "stampede adds."
        )
        yield ""
    hits, misses = figures.baseline.hits, figures.baseline.misses
    yield (
        f"Of the baseline's {hits.requests + misses.requests:,} answers, {hits.wrong + misses.wrong} were "
        "judged wrong or more than two seconds old. Those looked into were all old: it stamps a value when "
        "it is computed, and the value's two seconds in Redis begin when its SET gets there, behind all "
        "else that waits in the event loop."
    )
    yield ""


def _others(figures: Figures) -> Iterator[str]:
    yield "## Bots, pushes and writes"
    yield ""
    yield "Locust's users on four workers, from one process on this machine, whose limits are in the times:"
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
        f"{figures.paged_trades:,} trades costs at most {figures.dearest_page:.2f} times the first."
    )
    yield ""


def _method(figures: Figures) -> Iterator[str]:
    names = (
        "httptools",
        "uvloop",
        "redis",
        "hiredis",
        "onnxruntime",
        "fastapi",
        "uvicorn",
        "sqlalchemy",
        "slowapi",
    )
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    yield "## How it is measured"
    yield ""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    yield f"- Machine: {machine()}; {system}; {versions}."
    yield (
        "- The server under test has one processor to itself; PostgreSQL, Valkey, Azurite and the load "
        "generator share the others. Its CPU time is that of all its processes and threads, as the operating "
        "system counts it."
    )
    yield (
        "- The baseline (`loadtests/baseline/app.py`) is FastAPI, slowapi, SQLAlchemy, redis-py and "
        "scikit-learn on uvicorn with uvloop and httptools, asynchronous, with pooled connections. Both "
        "sides learn a model of the same kind from the same trades, and write a line of access log a request."
    )
    yield (
        f"- 99% hits: {HOT_STATES} states are asked again and again, and a new one whenever less than 1% of "
        "the answers were computed. 0% hits: every state is new. Each connection is a bot with its own key."
    )
    yield (
        "- The generator is one process over raw sockets with requests made beforehand "
        f"(busy {figures.ours.hits.generator_busy:.0%} of its processor against ours, "
        f"{figures.echo.generator_busy:.0%} against the echo). It judges every answer: its status, the "
        "confidence that the stored model gives for that state, and an age of at most two seconds by what "
        "the answer says and by when an answer that was computed was last seen."
    )
    yield (
        "- The plot is open loop: requests fall due at an even rate whether the server keeps up or not, and "
        "the time spent waiting for a free connection counts. Each side gets a second of load first."
    )
    yield f"- The run took {figures.took_s / 60:.1f} minutes."


def _plot(curves: list[Curve], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures make the same file.
    mpl.rcParams["svg.hashsalt"] = "signal-cloud"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    names = {"baseline": "baseline", "ours": "Signal Cloud"}
    for curve, colour in zip(curves, ("#b5483a", "#1f5f99"), strict=True):
        name = names[curve.name]
        axes.plot(curve.per_second, curve.p99_ms, "o-", color=colour, label=f"{name}, p99")
        axes.plot(curve.per_second, curve.p50_ms, "o--", color=colour, alpha=0.6, label=f"{name}, p50")
    axes.set(xscale="log", yscale="log", xlabel="requests a second offered", ylabel="latency, ms")
    axes.set_title("Latency against load, 99% cache hits, one server process")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
