"""Two bots of one license on a whole stack: one place, one socket, and who takes it over."""

import asyncio
from typing import Any

import pytest

from tests.e2e.test_revocation import Bot
from tests.support.running import RunningStack


class Instance(Bot):
    """A bot that names itself."""

    def __init__(self, stack: RunningStack, key: str, name: str) -> None:
        super().__init__(stack, key)
        self.name = name

    async def claim(self, *, force: bool = False) -> tuple[int, dict[str, Any]]:
        """Status and answer of a negotiation."""
        async with self.session.post(
            f"{self.stack.base_url}/api/ws/negotiate",
            json={"symbols": ["ES"], "instance": self.name, "force": force},
            headers=self.headers,
        ) as answer:
            return answer.status, dict(await answer.json())

    async def call(self, session_id: str) -> tuple[int, str]:
        """Status and problem code of a call that names a session."""
        headers = {**self.headers, "Session-Id": session_id}
        async with self.session.get(f"{self.stack.base_url}/api/license", headers=headers) as answer:
            return answer.status, dict(await answer.json()).get("code", "")


@pytest.fixture
def key(stack: RunningStack) -> str:
    """A key of a new license with one place, whose plan requires a session."""
    return str(stack.new_key("--plan", "starter")["key"])


async def test_a_second_bot_waits_or_takes_over(stack: RunningStack, key: str) -> None:
    async with Instance(stack, key, "bot-1") as first, Instance(stack, key, "bot-2") as second:
        status, access = await first.claim()
        assert status == 200
        assert await first.open(access) == 101
        session_id = access["session"]["session_id"]
        assert await first.call(session_id) == (200, "")

        status, refused = await second.claim()
        assert (status, refused["code"]) == (409, "session_taken")
        assert "bot-1" in refused["detail"]

        status, taken = await second.claim(force=True)
        assert status == 200
        assert await second.open(taken) == 101
        # The socket's listener ends when the hub has closed it.
        await asyncio.wait_for(asyncio.shield(first._listening[0]), 5)
        told = [frame["data"] for frame in first.frames if frame.get("data", {}).get("type") == "revoked"]
        assert [each["reason"] for each in told] == ["session taken over by bot-2"]
        assert second.closed_at is None
        assert await first.open(access) != 101, "its URL is of a session that is over"


async def test_a_plan_that_requires_a_session_refuses_a_bot_without_a_name(
    stack: RunningStack, key: str
) -> None:
    async with Bot(stack, key) as bot:
        with pytest.raises(AssertionError, match="instance"):
            await bot.negotiate()
