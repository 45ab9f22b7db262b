"""An account's callers share its turns, in order and in bounded number, and leave nothing behind."""

import asyncio

import pytest

from shared.adapters.postgres.turns import AccountTurns
from shared.errors import TooManyQueries


class Callers:
    """Callers that take a turn each and hold it until `done` is set."""

    def __init__(self, turns: AccountTurns) -> None:
        self.turns = turns
        self.done = asyncio.Event()
        self.begun: list[int] = []
        self.under_way = self.most = 0

    async def call(self, number: int, account_id: str = "a") -> str:
        try:
            async with self.turns.turn(account_id):
                self.begun.append(number)
                self.under_way += 1
                self.most = max(self.most, self.under_way)
                await self.done.wait()
                self.under_way -= 1
        except TooManyQueries as error:
            assert error.retry_after_s == 1.0
            return error.detail
        return "done"


def turns_of(at_once: int = 2, waiting: int = 3, wait_s: float = 30.0) -> AccountTurns:
    return AccountTurns(at_once=at_once, waiting=waiting, wait_s=wait_s, refusal="too many")


async def test_some_have_a_turn_some_wait_in_order_and_the_others_are_refused_at_once() -> None:
    callers = Callers(turns_of())
    running = [asyncio.create_task(callers.call(n)) for n in range(9)]
    done, _ = await asyncio.wait(running, timeout=0.01)
    assert {task.result() for task in done} == {"too many"}
    assert len(done) == 4
    assert callers.begun == [0, 1]
    callers.done.set()
    assert [await task for task in running] == ["done"] * 5 + ["too many"] * 4
    assert callers.begun == [0, 1, 2, 3, 4]
    assert callers.most == 2
    assert callers.turns._queues == {}


async def test_another_account_does_not_wait() -> None:
    callers = Callers(turns_of(at_once=1))
    running = [asyncio.create_task(callers.call(n)) for n in range(3)]
    running.append(asyncio.create_task(callers.call(7, "b")))
    await asyncio.sleep(0)
    assert callers.begun == [0, 7]
    callers.done.set()
    await asyncio.gather(*running)


async def test_a_caller_that_waits_too_long_is_refused_and_its_place_is_free_again() -> None:
    callers = Callers(turns_of(at_once=1, waiting=1, wait_s=0.01))
    first = asyncio.create_task(callers.call(0))
    await asyncio.sleep(0)
    assert await callers.call(1) == "too many"
    assert await callers.call(2) == "too many"
    callers.done.set()
    assert await first == "done"
    assert await callers.call(3) == "done"
    assert callers.begun == [0, 3]


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_a_cancelled_caller_gives_its_place_back(cancelled: int) -> None:
    callers = Callers(turns_of(at_once=1, waiting=1))
    running = [asyncio.create_task(callers.call(n)) for n in range(2)]
    await asyncio.sleep(0)
    running[cancelled].cancel()
    await asyncio.wait([running[cancelled]])
    callers.done.set()
    assert await running[1 - cancelled] == "done"
    assert await callers.call(5) == "done"
    assert callers.turns._queues == {}


async def test_a_block_that_fails_gives_its_turn_back() -> None:
    turns = turns_of(at_once=1, waiting=0)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with turns.turn("a"):
                raise RuntimeError("defect")
    async with turns.turn("a"):
        pass
