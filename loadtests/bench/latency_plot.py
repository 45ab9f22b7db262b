"""Draws latency against load, as docs/latency.svg."""

from collections.abc import Sequence
from pathlib import Path

from loadtests.bench.figures import Curve

_NAMES = {"baseline": "baseline", "ours": "Signal Cloud"}
_COLOURS = ("#b5483a", "#1f5f99")


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Writes the plot; the same figures make the same file."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "signal-cloud"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for curve, colour in zip(curves, _COLOURS, strict=True):
        name = _NAMES[curve.name]
        axes.plot(curve.per_second, curve.p99_ms, "o-", color=colour, label=f"{name}, p99")
        axes.plot(curve.per_second, curve.p50_ms, "o--", color=colour, alpha=0.6, label=f"{name}, p50")
    axes.set(xscale="log", yscale="log", xlabel="requests a second offered", ylabel="latency, ms")
    axes.set_title("Latency against load, 99% cache hits, one server process")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
