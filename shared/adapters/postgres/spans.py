"""Gives queries the spans of time that they are asked about."""

from collections.abc import Sequence

from shared.domain.market.feeds import Span


def span_parameters(spans: Sequence[Span]) -> dict[str, object]:
    return {
        "symbols": [span.symbol for span in spans],
        "firsts": [span.first for span in spans],
        "lasts": [span.last for span in spans],
    }
