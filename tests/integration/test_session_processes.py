"""Two bots over any number of processes and one real Valkey: a session has one holder at any time."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.redis import RedisStore
from shared.adapters.redis.sessions import SessionStore
from shared.domain.access.sessions import RENEW_EVERY_S, Session, SessionRecord
from shared.errors import SessionLost, SessionTaken
from tests.support.session_world import Process, World

BOTS = ("bot-1", "bot-2")
PROCESSES = 4

bots, processes = st.sampled_from(BOTS), st.integers(0, PROCESSES - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), bots, processes, st.booleans(), st.booleans()),
        st.tuples(st.just("call"), bots, processes),
        st.tuples(st.just("release"), bots, processes),
        st.tuples(st.just("pass"), st.sampled_from((RENEW_EVERY_S + 1, 40.0, 70.0))),
        st.tuples(st.just("empty")),
        st.tuples(st.just("outage")),
    ),
    min_size=4,
    max_size=25,
)


class Unreachable:
    """A store that can be made unavailable, as Redis can."""

    def __init__(self, store: SessionStore, away: "Bots") -> None:
        self._store = store
        self._away = away

    def __getattr__(self, name: str) -> object:
        # The memory store raises the error of an outage; the real one answers.
        return getattr(self._away.world.sessions if self._away.world.redis_away else self._store, name)


class Bots:
    """Both bots, the processes that they call, and what each was last told."""

    def __init__(self, store: SessionStore, server: redis.Redis) -> None:
        self.server = server
        self.server.flushall()
        self.world = World(store=lambda: Unreachable(store, self))
        self.processes = [self.world.first, self.world.second]
        while len(self.processes) < PROCESSES:
            self.processes.append(Process(self.world, Unreachable(store, self)))
        self.held: dict[str, Session] = {}
        self.was_emptied = False

    @property
    def key(self) -> str:
        return f"sessions:{{{self.world.license_id}}}"

    async def take(self, bot: str, process: int, force: bool, keeps: bool) -> None:
        holder = self.holder()
        former = self.held.get(bot) if keeps else None
        try:
            session = await self.world.take(bot, former=former, force=force, process=self.processes[process])
        except SessionTaken as refused:
            assert holder is not None
            assert holder.instance != bot
            assert holder.instance in refused.detail
            assert not force
            return
        if session.is_confirmed:
            assert holder is None or holder.instance == bot or force
            assert self.holder() is not None
        self.held[bot] = session

    async def call(self, bot: str, process: int) -> None:
        """A call, and the renewal that follows; a bot that is refused has no session any more."""
        session = self.held.get(bot)
        if session is None:
            return
        try:
            self.processes[process].leases.note(self.world.grant, session.session_id)
        except SessionLost:
            # After Redis was emptied, a process may still know of an end that Redis has forgotten.
            assert self.was_emptied or self.world.redis_away or self.holder_id() != session.session_id
            del self.held[bot]
        await self.processes[process].settle()

    async def release(self, bot: str, process: int) -> None:
        session = self.held.get(bot)
        if session is not None and not self.world.redis_away:
            await self.processes[process].service.release(self.world.grant, session.session_id)
            del self.held[bot]
            assert self.holder_id() != session.session_id

    async def pass_time(self, seconds: float) -> None:
        self.world.elapsed_s += seconds
        for session_id, text in self.server.hgetall(self.key).items():
            record = msgspec.json.decode(text, type=SessionRecord)
            earlier = {
                name: max(1, getattr(record, name) - round(seconds * 1000))
                for name in ("since_ms", "expires_ms", "ended_ms")
                if getattr(record, name)
            }
            self.server.hset(
                self.key, session_id, msgspec.json.encode(msgspec.structs.replace(record, **earlier))
            )

    def holder(self) -> SessionRecord | None:
        """The one live session that Redis holds."""
        seconds, microseconds = self.server.time()
        now = seconds * 1000 + microseconds // 1000
        records = [msgspec.json.decode(text, type=SessionRecord) for text in self.server.hvals(self.key)]
        live = [record for record in records if not record.has_ended and record.expires_ms > now]
        assert len(live) <= 1, "two bots hold one place"
        return live[0] if live else None

    def holder_id(self) -> str | None:
        holder = self.holder()
        return holder.session_id if holder else None

    async def run(self, step: tuple[object, ...]) -> None:
        name, *arguments = step
        if name == "pass":
            await self.pass_time(*arguments)  # type: ignore[arg-type]
        elif name == "empty":
            self.server.flushall()
            self.was_emptied = True
        elif name == "outage":
            self.world.redis_away = not self.world.redis_away
        else:
            await getattr(self, str(name))(*arguments)
        self.holder()

    async def calm_down(self) -> None:
        """Both bots call every process until all are told; then at most one of them still has a session."""
        self.world.redis_away = False
        for _ in range(3):
            await self.pass_time(RENEW_EVERY_S + 1)
            for process in range(PROCESSES):
                for bot in BOTS:
                    await self.call(bot, process)
        assert len(self.held) <= 1
        assert {session.session_id for session in self.held.values()} <= {self.holder_id()}


@pytest.fixture
async def store(valkey_url: str) -> AsyncIterator[SessionStore]:
    cache = RedisStore(valkey_url, connect_timeout_s=10, socket_timeout_s=10)
    yield SessionStore(cache)
    await cache.close()


@given(steps)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
async def test_two_bots_over_four_processes(
    store: SessionStore, valkey_url: str, taken: list[tuple[object, ...]]
) -> None:
    with pytest.MonkeyPatch.context() as patched, redis.Redis.from_url(valkey_url) as server:
        bots = Bots(store, server)
        bots.world.no_waiting(patched)
        for step in taken:
            await bots.run(step)
        await bots.calm_down()
