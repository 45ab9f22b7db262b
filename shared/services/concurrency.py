"""Runs the same work for many items, a bounded number at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def run_for_each[I, R](
    work: Callable[[I], Awaitable[R]], items: Iterable[I], *, at_once: int
) -> list[R]:
    """The results of `work` for each item, in order, with at most `at_once` under way.

    If some fail, the others still run to their end; then the first error in order is raised.
    """
    slots = asyncio.Semaphore(at_once)

    async def run(item: I) -> R:
        async with slots:
            return await work(item)

    results: list[R] = []
    for result in await asyncio.gather(*map(run, items), return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results
