"""Measures what one admission costs Redis and this process: `python -m loadtests.bench.admission`.

A Valkey of its own, one process, and so many requests in flight that calls are full. With `--former DIR`, the
checkout in DIR is measured in turn with this one, in another order each round, and the ratio is printed.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import redis

from loadtests.attacks.revocation.valkey import running_valkey
from shared.adapters.plans import shipped_plans
from shared.adapters.redis import RedisStore
from shared.domain.access.admission import decode_record
from shared.domain.access.licenses import ApiKey, Grant, License
from shared.domain.access.plans import Overrides

# All limits are so high that none refuses: a refusal costs less.
KINDS = {
    "key": Overrides(requests_per_minute=100_000),
    "all": Overrides(
        requests_per_minute=90_000, requests_per_second=80_000, license_requests_per_minute=1_000_000
    ),
}
KEYS = 200
IN_FLIGHT = 64
ROUNDS = 5


def grant_of(number: int, kind: str) -> Grant:
    """A grant of the license and the key with this number."""
    now = datetime.now(UTC)
    license_ = License(
        license_id=f"lic_Ab{number:010}", account_id=f"acct-{number}", overrides=KINDS[kind], created_at=now
    )
    key = ApiKey(
        public_id=f"Ab{number:04}",
        key_hash=f"{number:064x}",
        license_id=license_.license_id,
        scopes=("bot",),
        created_at=now,
    )
    return shipped_plans().grant(license_, key)


async def ask(url: str, kind: str, seconds: float) -> float:
    """Asks for `seconds`; returns the microseconds of wall time a request."""
    store = RedisStore(url)
    grants = [grant_of(number, kind) for number in range(KEYS)]
    await store.store_grants([(grant.key.key_hash, grant) for grant in grants])
    tags = []
    for grant in grants:
        record = await store.grant_record(grant.key.key_hash)
        assert record is not None
        tags.append(decode_record(record)[0])
    count, ends = 0, time.perf_counter() + seconds

    async def bot(number: int) -> None:
        nonlocal count
        while time.perf_counter() < ends:
            number = (number + IN_FLIGHT) % KEYS
            answer = await store.take_request(grants[number].key.key_hash, tags[number])
            assert answer is not None
            assert answer.allowed
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*(bot(number) for number in range(IN_FLIGHT)))
    spent = time.perf_counter() - began
    await store.close()
    return spent / count * 1e6


def measured(kind: str, seconds: float) -> dict[str, float]:
    """Microseconds a request, of wall time, of this process's and of Valkey's processor time."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running_valkey(Path(directory)) as valkey,
        redis.Redis.from_url(valkey.url) as client,
    ):
        own, others = time.process_time(), _cpu_s(client)
        wall_us = asyncio.run(ask(valkey.url, kind, seconds))
        count = seconds * 1e6 / wall_us
        own_us = (time.process_time() - own) / count * 1e6
        return {"wall": wall_us, "process": own_us, "valkey": (_cpu_s(client) - others) / count * 1e6}


def _cpu_s(client: redis.Redis) -> float:
    spent = client.info("cpu")
    return float(spent["used_cpu_user"]) + float(spent["used_cpu_sys"])


def _in(directory: Path, kind: str, seconds: float) -> dict[str, float]:
    """What the checkout in `directory` measures of itself."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "loadtests.bench.admission", "--kind", kind, "--seconds", str(seconds)],
        cwd=directory,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def compare(former: Path, seconds: float, rounds: int) -> None:
    """Measures both checkouts in turn, and this one's further limits, and prints the medians and ratios."""
    here = Path.cwd()
    turns = [("former", former, "key"), ("key", here, "key"), ("all", here, "all")]
    found: dict[str, list[dict[str, float]]] = {name: [] for name, _, _ in turns}
    for number in range(rounds):
        for name, directory, kind in turns[number % 3 :] + turns[: number % 3]:
            found[name].append(_in(directory, kind, seconds))
    for what in ("wall", "process", "valkey"):
        medians = {name: statistics.median(each[what] for each in rows) for name, rows in found.items()}
        ratios = ", ".join(f"{name} {medians[name] / medians['former']:.2f}" for name in ("key", "all"))
        shown = ", ".join(f"{name} {value:.1f}" for name, value in medians.items())
        print(f"{what:<8} us a request: {shown}; times the former: {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.admission", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--kind", choices=KINDS, default="key", help="the limits (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measure (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of a comparison (%(default)s)")
    parser.add_argument("--former", type=Path, metavar="DIR", help="a checkout to compare with")
    options = parser.parse_args()
    if options.former is not None:
        compare(options.former, options.seconds, options.rounds)
    else:
        print(json.dumps(measured(options.kind, options.seconds)))


if __name__ == "__main__":
    main()
