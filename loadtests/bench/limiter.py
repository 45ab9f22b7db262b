"""Proves the rate limiter: four client processes use one key, and exactly its limit is let through.

    python -m loadtests.bench.limiter --host 127.0.0.1 --port 7071 --limit 100

SIGNAL_CLOUD_KEY is a key that was not used in the last minute. Asks for less than a window, so that exactly
`limit` requests may pass. The answers to these must each state a different number of requests left: limit - 1
down to 0.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import os
from dataclasses import dataclass

from loadtests.bench import market
from loadtests.bench.generator import Plan
from loadtests.bench.market import PATH
from loadtests.bench.side import generate
from shared.settings_reader import SettingsReader

CLIENT_PROCESSES = 4
CONNECTIONS = 8
# Well within the window of 60 s, and far more than the largest limit takes.
MOST_S = 30.0


@dataclass(frozen=True)
class LimiterProof:
    """Counts of requests; `quotas_exact` says whether each number of requests left was stated once."""

    limit: int
    let_through: int
    refused: int
    other: dict[str, int]
    quotas_exact: bool

    @property
    def holds(self) -> bool:
        enough = self.refused >= min(self.limit, 100)
        return self.let_through == self.limit and self.quotas_exact and not self.other and enough


def prove(host: str, port: int, key: str, limit: int, seconds: float) -> LimiterProof:
    """Asks for `seconds` from all processes at once; `key` must not have been used in the last minute."""
    plan = Plan(
        host=host,
        port=port,
        heads=[market.request_head(PATH, port, key)],
        hot=[market.body(number) for number in range(10)],
        fresh=[],
        fresh_share=0.0,
        connections=CONNECTIONS,
        seconds=min(seconds, MOST_S),
        quotas=True,
    )
    outcomes = generate([plan] * CLIENT_PROCESSES)
    quotas = sorted(quota for outcome in outcomes for quota in outcome.quotas)
    refused, other = 0, dict[str, int]()
    for outcome in outcomes:
        for what, count in outcome.errors.items():
            if what == "429":
                refused += count
            else:
                other[what] = other.get(what, 0) + count
    return LimiterProof(limit, len(quotas), refused, other, quotas == list(range(limit)))


def describe(proof: LimiterProof) -> str:
    quotas = "each quota stated once" if proof.quotas_exact else "QUOTAS STATED WRONGLY"
    others = f", other answers {proof.other}" if proof.other else ""
    return f"limit {proof.limit}: {proof.let_through} let through, {quotas}; {proof.refused} refused{others}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.limiter", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--limit", type=int, default=100, help="of the key, in any 60 s (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to ask (%(default)s)")
    options = parser.parse_args()
    key = SettingsReader(os.environ).text("SIGNAL_CLOUD_KEY", "")
    if not key:
        parser.error("SIGNAL_CLOUD_KEY is not set")  # never an argument, which every user can read
    proof = prove(options.host, options.port, key, options.limit, options.seconds)
    print(describe(proof))
    raise SystemExit(0 if proof.holds else 1)


if __name__ == "__main__":
    main()
