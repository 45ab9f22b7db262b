"""The header of a key may have blanks and tabs; a refused key that counts gets its quota."""

import pytest

from shared.errors import KeyMalformed
from tests.support.access_world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    "header",
    [
        "Bearer {}",
        "Bearer\t{}",
        "Bearer   {}",
        "Bearer \t {}",
        "Bearer {}\t",
        "Bearer {}  ",
        "\tBearer {}",
        "  Bearer\t\t{}\t \t",
        "BEARER\t{} ",
    ],
)
async def test_blanks_and_tabs_around_a_key_do_not_matter(world: World, header: str) -> None:
    bot = await world.bot()
    for _ in range(2):  # a header that this process has never seen, and then one that it knows
        assert (await world.access.admit(header.format(bot.plain), "bot")).grant.key == bot.key
    assert world.access.trusts(header.format(bot.plain))


@pytest.mark.parametrize(
    "header",
    ["Bearer{}", "Bearer\n{}", "Bearer\xa0{}", "Bearer {}\n", "Bearer \x0b{}", "Bearer,{}", "{}", "Basic {}"],
)
async def test_nothing_else_may_stand_around_a_key(world: World, header: str) -> None:
    bot = await world.bot()
    with pytest.raises(KeyMalformed):
        await world.access.admit(header.format(bot.plain), "bot")


async def test_a_key_that_lacks_the_scope_is_told_what_it_has_left(world: World) -> None:
    bot = await world.bot(limit=3)
    for left in (2, 1, 0, 0):
        error = await world.refusal(bot.plain, "feeder")
        assert error.code == "scope_missing"
        assert error.quota is not None
        assert error.quota[:2] == (3, left)
