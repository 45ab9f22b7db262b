"""One process of clients for test_rate_limit_processes.py: asks without pause and prints what it got.

Arguments: Redis URL, window in s, seconds to run, clients. Each printed row is [asked at, answered at,
allowed, remaining, reset in s], with times of the clock that all processes of a machine share.
"""

import asyncio
import json
import random
import sys
import time

from shared.adapters.redis import RedisStore

KEY_HASH = "a7" * 32


async def client(store: RedisStore, ends: float, rows: list[tuple[float, float, bool, int, float]]) -> None:
    while (asked := time.monotonic()) < ends:
        answer = await store.take_request(KEY_HASH)
        assert answer is not None
        assert answer.rate is not None
        rows.append((asked, time.monotonic(), answer.allowed, answer.rate.remaining, answer.rate.reset_s))
        await asyncio.sleep(random.uniform(0.001, 0.012))


async def main(url: str, window_s: float, run_s: float, clients: int) -> None:
    store = RedisStore(url, window_s=window_s)
    await store.ping()
    print("ready", flush=True)
    sys.stdin.readline()
    rows: list[tuple[float, float, bool, int, float]] = []
    ends = time.monotonic() + run_s
    await asyncio.gather(*(client(store, ends, rows) for _ in range(clients)))
    await store.close()
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
