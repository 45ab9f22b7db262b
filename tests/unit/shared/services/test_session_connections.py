"""A client may connect only with a live session, if it has one or its plan requires one."""

from typing import Any

import pytest

from shared.domain.access.license_changes import with_overrides
from shared.domain.access.plans import Overrides
from shared.domain.access.sessions import SessionClaim, Taken
from shared.services.key_making import CreatedKey
from tests.unit.shared.services.test_hub_events import Hubs


@pytest.fixture
def hubs() -> Hubs:
    return Hubs()


async def key_of(hubs: Hubs, **overrides: Any) -> CreatedKey:
    made = await hubs.service.create_license("acct-1", overrides=Overrides(symbols=("ES",), **overrides))
    return await hubs.service.create_key(made.license_id)


async def take(hubs: Hubs, key: CreatedKey, instance: str = "bot-1", *, force: bool = False) -> str:
    claim = SessionClaim(
        license_id=key.key.license_id,
        public_id=key.key.public_id,
        places=1,
        session_id=f"ses_{instance:0>20}".replace("-", "0"),
        former="",
        instance=instance,
        version="",
        symbols=("ES",),
        force=force,
    )
    taken = await hubs.sessions.take(claim)
    assert isinstance(taken, Taken)
    return taken.record.session_id


async def test_a_connection_remembers_its_session(hubs: Hubs) -> None:
    key = await key_of(hubs)
    session_id = await take(hubs, key)
    assert await hubs.connect(key, groups=["symbol.ES"], session_id=session_id) == "in"
    (row,) = hubs.table.rows.values()
    assert row.session_id == session_id
    assert row.session is not None
    assert row.session.instance == "bot-1"


async def test_a_session_that_another_bot_has_taken_over_does_not_connect(hubs: Hubs) -> None:
    key = await key_of(hubs)
    session_id = await take(hubs, key)
    await take(hubs, key, "bot-2", force=True)
    assert await hubs.connect(key, groups=["symbol.ES"], session_id=session_id, nonce="n") == "session_lost"
    assert await hubs.connect(key, groups=["symbol.ES"], session_id=session_id, nonce="n") == "session_lost"
    assert hubs.counted["connections_refused"] == 2
    assert hubs.table.rows == {}


async def test_a_plan_can_require_a_session(hubs: Hubs) -> None:
    key = await key_of(hubs, session_required=True)
    assert await hubs.connect(key, groups=["symbol.ES"]) == "session_lost"
    assert await hubs.connect(key, groups=["symbol.ES"], session_id="ses_" + "0" * 20) == "session_lost"
    assert await hubs.connect(key, groups=["symbol.ES"], session_id=await take(hubs, key)) == "in"


async def test_without_redis_a_session_that_nobody_can_check_connects(hubs: Hubs) -> None:
    key = await key_of(hubs, session_required=True)
    session_id = await take(hubs, key)
    hubs.sessions.is_away = lambda: True
    assert await hubs.connect(key, groups=["symbol.ES"], session_id=session_id) == "in"
    assert hubs.counted["sessions_unchecked"] == 1
    (row,) = hubs.table.rows.values()
    assert (row.session_id, row.session) == (session_id, None)


@pytest.mark.parametrize("ends", ["key", "license", "fewer places"])
async def test_the_end_of_a_license_or_key_ends_its_sessions(hubs: Hubs, ends: str) -> None:
    key = await key_of(hubs, sessions=2)
    license_id = key.key.license_id
    other = await hubs.service.create_key(license_id)
    await take(hubs, key)
    if ends == "key":
        await hubs.service.revoke_key(other.key.public_id)
        assert len(hubs.sessions.live(license_id)) == 1, "it is of the other key"
        await hubs.service.revoke_key(key.key.public_id)
    elif ends == "license":
        await hubs.service.suspend_license(license_id)
    else:
        await hubs.service.change(
            license_id,
            lambda license_: with_overrides(license_, Overrides(symbols=("ES",), sessions=1)),
            "license changed",
        )
    assert hubs.sessions.live(license_id) == []
