"""Any interleaving of bots over a real Valkey gives each place one holder, as the model of the rules says."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.redis import RedisStore
from shared.adapters.redis.sessions import SessionStore
from shared.domain.access.sessions import (
    MAX_ENDED,
    Refused,
    Renewal,
    SessionClaim,
    SessionRecord,
    Taken,
)
from tests.support.memory_sessions import LEASE_MS, START_MS, MemorySessions

LICENSE = "lic_Ab1234567890"
KEY = f"sessions:{{{LICENSE}}}"
INSTANCES = ("a", "b", "c")
SYMBOLS = (("ES",), ("NQ",), ("ES", "NQ"))

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("take"),
            st.sampled_from(INSTANCES),
            st.sampled_from(SYMBOLS),
            st.booleans(),  # whether it takes over
            st.booleans(),  # whether it sends the session that it holds
        ),
        st.tuples(
            st.just("renew"),
            st.sampled_from(INSTANCES),
            st.booleans(),  # whether it has a copy
            st.integers(0, 2),  # how many sessions the instance has taken since
        ),
        st.tuples(st.just("release"), st.sampled_from(INSTANCES)),
        st.tuples(st.just("end"), st.sampled_from(("", "Ab12Ca", "Ab12Cb"))),
        st.tuples(st.just("pass"), st.sampled_from((20_000, 45_000, LEASE_MS + 5_000, 12 * 60_000))),
        st.tuples(st.just("empty")),
    ),
    min_size=3,
    max_size=25,
)


class World:
    """The store on Valkey and the model get the same requests; time passes by moving the records back."""

    def __init__(self, store: SessionStore, server: redis.Redis, places: int) -> None:
        self.store = store
        self.server = server
        self.places = places
        self.time_ms = START_MS
        self.model = MemorySessions(clock_ms=lambda: self.time_ms)
        self.made = 0
        self.held: dict[str, SessionRecord] = {}
        self.ever_held: defaultdict[str, list[SessionRecord]] = defaultdict(list)
        server.delete(KEY)

    async def run(self, step: tuple[object, ...]) -> None:
        operation, *arguments = step
        await getattr(self, f"do_{operation}")(*arguments)
        self.check_places()
        # Two steps in one millisecond would have an order in one of the clocks and none in the other.
        await self.do_pass(2)

    async def do_take(self, instance: str, symbols: tuple[str, ...], force: bool, keeps: bool) -> None:
        self.made += 1
        held = self.held.get(instance)
        claim = SessionClaim(
            license_id=LICENSE,
            public_id=f"Ab12C{instance}",
            places=self.places,
            session_id=f"ses_{self.made:020}",
            former=held.session_id if held is not None and keeps else "",
            instance=instance,
            version="1.0",
            symbols=symbols,
            force=force,
        )
        real, expected = await self.store.take(claim), await self.model.take(claim)
        if isinstance(real, Refused):
            assert isinstance(expected, Refused)
            assert _plain(real.holders) == _plain(expected.holders)
            assert 0 < real.wait_s <= LEASE_MS / 1000
            assert abs(real.wait_s - expected.wait_s) < 5
            return
        assert isinstance(expected, Taken)
        assert _plain((real.record,)) == _plain((expected.record,))
        assert _plain(real.ended) == _plain(expected.ended)
        assert real.has_dropped == expected.has_dropped
        self.held[instance] = real.record
        self.ever_held[instance].append(real.record)

    async def do_renew(self, instance: str, knows_copy: bool, since: int) -> None:
        held = next(iter(self.ever_held[instance][::-1][since:]), None)
        renewal = Renewal(
            license_id=LICENSE,
            session_id=held.session_id if held else "ses_unknown",
            copy=held if knows_copy else None,
        )
        (real,), (expected,) = await self.store.renew([renewal]), await self.model.renew([renewal])
        assert _plain([real] if real else []) == _plain([expected] if expected else [])

    async def do_release(self, instance: str) -> None:
        held = self.held.get(instance)
        session_id = held.session_id if held else "ses_unknown"
        real = await self.store.release(LICENSE, session_id, "released")
        expected = await self.model.release(LICENSE, session_id, "released")
        assert (real is None) == (expected is None)

    async def do_end(self, public_id: str) -> None:
        real, expected = await self.store.end(LICENSE, public_id), await self.model.end(LICENSE, public_id)
        assert sorted(real) == sorted(expected)

    async def do_pass(self, milliseconds: int) -> None:
        self.time_ms += milliseconds
        for session_id, text in self.server.hgetall(KEY).items():
            record = msgspec.json.decode(text, type=SessionRecord)
            earlier = {
                name: max(1, getattr(record, name) - milliseconds)
                for name in ("since_ms", "expires_ms", "ended_ms")
                if getattr(record, name)
            }
            self.server.hset(KEY, session_id, msgspec.json.encode(msgspec.structs.replace(record, **earlier)))

    async def do_empty(self) -> None:
        self.server.delete(KEY)
        self.model.licenses.clear()

    def check_places(self) -> None:
        """On the server itself: each place has one holder, each instance one session, ended ones are few."""
        seconds, microseconds = self.server.time()
        now = seconds * 1000 + microseconds // 1000
        records = [msgspec.json.decode(text, type=SessionRecord) for text in self.server.hvals(KEY)]
        live = [record for record in records if not record.has_ended and record.expires_ms > now]
        for symbol in ("ES", "NQ"):
            assert sum(symbol in record.symbols for record in live) <= self.places
        instances = [record.instance for record in records if not record.has_ended]
        assert len(instances) == len(set(instances))
        assert sum(record.has_ended for record in records) <= MAX_ENDED
        assert not records or 0 < self.server.pttl(KEY) <= LEASE_MS + 600_000


def _plain(records: object) -> list[tuple[object, ...]]:
    """What must agree; the times are of two clocks."""
    assert isinstance(records, tuple | list)
    return sorted(
        (each.session_id, each.instance, each.version, each.public_id, each.symbols, each.reason, each.by)
        for each in records
    )


@pytest.fixture(scope="module")
def server(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
async def store(valkey_url: str) -> AsyncIterator[SessionStore]:
    cache = RedisStore(valkey_url, connect_timeout_s=10, socket_timeout_s=10)
    yield SessionStore(cache)
    await cache.close()


@given(st.integers(1, 2), steps)
@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
async def test_each_place_has_one_holder(
    store: SessionStore, server: redis.Redis, places: int, taken: list[tuple[object, ...]]
) -> None:
    world = World(store, server, places)
    for step in taken:
        await world.run(step)


async def test_the_oldest_ends_are_forgotten_first(store: SessionStore, server: redis.Redis) -> None:
    world = World(store, server, 1)
    for number in range(MAX_ENDED + 3):
        await world.run(("take", INSTANCES[number % 2], ("ES",), True, False))
    ended = {each.session_id for each in map(_decoded, server.hvals(KEY)) if each.has_ended}
    assert ended == {f"ses_{number:020}" for number in range(3, MAX_ENDED + 3)}


def _decoded(text: bytes | str) -> SessionRecord:
    return msgspec.json.decode(text, type=SessionRecord)
