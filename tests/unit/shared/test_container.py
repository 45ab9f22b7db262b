"""The composition: one container a loop, everything made once, and only what was used is closed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import pytest

from shared import container as composition
from shared.container import Container, container
from shared.domain.access.plans import Overrides
from tests.support.api import SETTINGS, Api

BUILT_ONCE = [name for name, value in vars(Container).items() if isinstance(value, cached_property)]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    yield made
    made.forget()


@pytest.mark.parametrize("name", BUILT_ONCE)
async def test_each_adapter_and_service_is_made_once(api: Api, name: str) -> None:
    assert getattr(api.services, name) is getattr(api.services, name)


async def test_a_loop_has_one_container(api: Api) -> None:
    assert container() is container() is api.services


def test_another_loop_has_another_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "current_settings", lambda: SETTINGS)

    async def made() -> Container:
        assert container() is container()
        return container()

    first, second = asyncio.run(made()), asyncio.run(made())
    assert first is not second
    composition._container_of.cache_clear()


async def test_only_what_was_used_is_closed() -> None:
    closed: list[str] = []

    class Closing:
        def __init__(self, name: str) -> None:
            self.name = name

        async def close(self) -> None:
            closed.append(self.name)

    made = Container(SETTINGS)
    await made.close()
    assert closed == []
    names = ("pools", "redis", "tables", "hub", "credentials")
    vars(made).update({name: Closing(name) for name in names})
    await made.close()
    assert closed == list(names)


async def test_changes_are_audited_under_who_made_them(api: Api) -> None:
    await api.services.license_service("timer").create_license("acct-1", overrides=Overrides(symbols=("ES",)))
    await api.services.license_service("somebody").create_license(
        "acct-1", overrides=Overrides(symbols=("ES",))
    )
    assert [actor for actor, _, _ in api.audit.entries] == ["timer", "somebody"]


async def test_what_no_limit_counted_and_what_was_computed_is_counted(api: Api) -> None:
    key = await api.key("bot")
    api.redis.away = True
    await api.services.access.admit(f"Bearer {key.plain}", "bot")
    assert api.counts == {"limiter_open": 1}


async def test_the_market_clock_follows_the_setting() -> None:
    for source in ("wall", "bars"):
        setting: Any = source
        made = Container(replace(SETTINGS, market_clock=setting))
        assert made.market_clock._source == source
        assert made.engine._clock_source == source


async def test_a_key_under_the_previous_pepper_is_known() -> None:
    api = Api()
    key = await api.key("bot")
    api.forget()
    rotated = Api(replace(SETTINGS, api_key_pepper="q" * 32, api_key_pepper_previous=SETTINGS.api_key_pepper))
    rotated.key_store.keys, rotated.key_store.licenses = api.key_store.keys, api.key_store.licenses
    answered = await rotated.call("GET", "license", key=key)
    assert answered.status == 200
    rotated.forget()
