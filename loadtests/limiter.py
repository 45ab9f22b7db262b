"""The limiter's proof: one key, four client processes, four host workers, and exactly its limit let through.

    python -m loadtests.limiter --host 127.0.0.1 --port 7071 --key sc_live_... --limit 100

Hammers for less than a window, so that exactly `limit` requests may pass, and each of them must have been
told a different number of requests left: limit - 1 down to 0.
"""

# ruff: noqa: T201 - printing is what it is for

import argparse
from dataclasses import dataclass

from loadtests import market
from loadtests.generator import Plan
from loadtests.measure import PATH, generate

CLIENT_PROCESSES = 4
CONNECTIONS = 8
# Well within the window of 60 s, and far more than the largest limit takes.
MOST_S = 30.0


@dataclass(frozen=True)
class LimiterProof:
    """`let_through` and `refused` requests; `other` answers; whether every quota was told exactly once."""

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
    """Asks with an unused `key` for `seconds`, from all processes at once."""
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
    told = "each told a different number left" if proof.quotas_exact else "QUOTAS TOLD WRONGLY"
    others = f", other answers {proof.other}" if proof.other else ""
    return f"limit {proof.limit}: {proof.let_through} let through, {told}; {proof.refused} refused{others}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.limiter", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--key", required=True, help="unused for the last minute")
    parser.add_argument("--limit", type=int, default=100, help="of the key, in any 60 s (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to hammer (%(default)s)")
    options = parser.parse_args()
    proof = prove(options.host, options.port, options.key, options.limit, options.seconds)
    print(describe(proof))
    raise SystemExit(0 if proof.holds else 1)


if __name__ == "__main__":
    main()
