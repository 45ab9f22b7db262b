"""The limiter across processes: four of them share a key, and every answer is judged against the rule.

The server's time of a request is only known to lie between asking and answering, so each check holds for
every time in between: none can fail by chance, and with answers within a millisecond they are sharp.
"""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from shared.adapters.redis import RedisStore
from shared.domain.access.licenses import ApiKey, License
from shared.domain.access.plans import Overrides
from tests.support.license_plans import PLANS
from tests.support.places import ROOT
from tests.support.rate_limit_client import KEY_HASH

PROCESSES = 4
CLIENTS = 5
RUN_S = 2.5


class Asked(NamedTuple):
    asked: float
    answered: float
    allowed: bool
    remaining: int
    reset_s: float


def run_processes(url: str, window_s: float) -> list[Asked]:
    arguments = [
        sys.executable,
        "-m",
        "tests.support.rate_limit_client",
        url,
        str(window_s),
        str(RUN_S),
        str(CLIENTS),
    ]
    running = [
        subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for each in running:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in running:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        rows = [Asked(*row) for each in running for row in json.loads(each.communicate(timeout=30)[0])]
    finally:
        for each in running:
            each.kill()
            each.wait()
    return sorted(rows)


async def put_license(url: str, limit: int) -> None:
    store = RedisStore(url)
    now = datetime.now(UTC)
    license_ = License(
        license_id="lic_Ab1234567890",
        account_id="a",
        overrides=Overrides(symbols=("ES",), requests_per_minute=limit),
        created_at=now,
    )
    key = ApiKey(
        public_id="Ab12Cd",
        key_hash=KEY_HASH,
        license_id=license_.license_id,
        scopes=("bot",),
        created_at=now,
    )
    await store.store_grant(KEY_HASH, PLANS.grant(license_, key))
    await store.close()


@pytest.mark.parametrize(("limit", "window_s"), [(1, 0.1), (10, 0.3), (60, 0.5)])
def test_four_processes_get_exactly_the_limit(redis_url: str, limit: int, window_s: float) -> None:
    asyncio.run(put_license(redis_url, limit))
    rows = run_processes(redis_url, window_s)
    allowed = [row for row in rows if row.allowed]
    refused = [row for row in rows if not row.allowed]
    assert len(refused) > 100, "the clients did not ask enough to test the limit"

    for first in allowed:
        certain = [
            row for row in allowed if first.asked <= row.asked and row.answered <= first.asked + window_s
        ]
        assert len(certain) <= limit, "more than the limit within one window"
    for row in refused:
        possible = [
            each for each in allowed if each.answered >= row.asked - window_s and each.asked <= row.answered
        ]
        assert len(possible) >= limit, "a request was refused while there was room"
        assert row.remaining == 0
        assert 0 < row.reset_s <= window_s + 1e-5
        # At the told time the quota grows: whoever was let in first afterwards did not come before it.
        early = [
            each for each in allowed if each.asked > row.answered and each.answered < row.asked + row.reset_s
        ]
        assert not early, "a request was let in before the told reset"
    assert all(0 <= row.remaining < limit for row in allowed)

    span_s = max(row.answered for row in rows) - min(row.asked for row in rows)
    assert len(allowed) <= (span_s // window_s + 1) * limit
    # Every client comes back within 12 ms, so that hardly any of the quota goes unused.
    assert len(allowed) >= span_s / (window_s + 0.05) * limit * 0.8
