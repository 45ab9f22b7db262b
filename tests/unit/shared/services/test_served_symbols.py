"""A license is only created for symbols that something serves."""

import pytest

from shared.domain.access.plans import Overrides
from shared.errors import DatabaseUnavailable, ValidationFailed
from tests.support.license_world import World, errors
from tests.support.samples import a_bar, a_draft


@pytest.fixture
def world() -> World:
    return World()


async def create(world: World, *symbols: str) -> tuple[str, ...] | None:
    made = await world.service.create_license("acct-1", overrides=Overrides(symbols=symbols))
    return made.overrides.symbols


@pytest.mark.parametrize("symbol", ["ES", "NQ", "CL", "YM", "RTY"])
async def test_what_the_app_is_built_for_is_served_without_a_look_at_postgres(
    world: World, symbol: str
) -> None:
    world.stores.server.away = True
    assert await create(world, symbol) == (symbol,)


@pytest.mark.parametrize("symbols", [("GC",), ("ES", "GC"), ("GC", "ES"), ("X", "Y1", "ES")])
async def test_a_symbol_that_nothing_serves_is_refused_with_those_that_are_served(
    world: World, symbols: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await create(world, *symbols)
    strange = [symbol for symbol in symbols if symbol != "ES"]
    assert errors(refused) == [("symbols", "unknown_value")] * len(strange)
    for error, symbol in zip(refused.value.errors, strange, strict=True):
        assert error.message == (
            f"Nothing serves {symbol}: it has neither bars nor signals. Served are CL, ES, NQ, RTY, YM."
        )
    assert world.store.licenses == {}
    assert world.audit.entries == []


@pytest.mark.parametrize(("symbol", "root"), [("ESZ5", "ES"), ("MES", "ES"), ("NQ1", "NQ"), ("M2KH6", "RTY")])
async def test_a_contract_is_refused_with_its_root(world: World, symbol: str, root: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await create(world, symbol)
    assert f"send {root}. Served are " in refused.value.errors[0].message


async def test_a_symbol_with_bars_or_signals_is_served(world: World) -> None:
    await world.stores.bars.insert("GC", [a_bar(0)], "live", world.clock())
    assert await create(world, "GC") == ("GC",)
    with pytest.raises(ValidationFailed) as refused:
        await create(world, "SI")
    assert "Served are CL, ES, GC, NQ" in refused.value.errors[0].message
    await world.stores.signals.publish(a_draft("SI"))
    assert await create(world, "SI", "GC", "ES") == ("SI", "GC", "ES")


async def test_the_first_feeder_or_publisher_of_a_symbol_may_come_before_its_data(world: World) -> None:
    world.stores.server.away = True
    made = await world.service.create_license(
        "acct-1", overrides=Overrides(symbols=("GC",)), may_be_unserved=True
    )
    assert made.overrides.symbols == ("GC",)


async def test_without_postgres_a_strange_symbol_is_not_guessed(world: World) -> None:
    world.stores.server.away = True
    with pytest.raises(DatabaseUnavailable):
        await create(world, "GC")
    assert world.store.licenses == {}
