"""The command for hooks, over the app's services in memory."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from operations.command import UsageError
from operations.hooks import _parser, lines_of
from shared.errors import NotFound, ValidationFailed
from tests.support.api import Api


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    yield made
    made.forget()


async def run(api: Api, *arguments: str) -> list[str]:
    return await lines_of(api.services.hook_registry("tester"), _parser().parse_args(arguments))


async def test_a_hook_is_made_listed_rotated_and_ended(api: Api) -> None:
    license_id = (await api.key("publisher")).key.license_id
    hook_id, shown = await run(
        api, "create", license_id, "--name", "my chart", "--symbols", "ES,NQ", "--addresses", "tradingview"
    )
    assert "/api/hooks/sch_" in shown
    (line,) = await run(api, "list", license_id)
    assert all(part in line for part in (hook_id, "takes alerts", "tradingview", "my chart"))
    (renewed,) = await run(api, "rotate", hook_id, "--overlap", "5m")
    assert renewed.rpartition(" ")[2] != shown.rpartition(" ")[2]
    with pytest.raises(UsageError, match="7 days at most"):
        await run(api, "rotate", hook_id, "--overlap", "8d")
    assert await run(api, "end", hook_id) == [f"{hook_id} takes no alerts any more"]
    assert "ended" in (await run(api, "list", license_id))[0]


async def test_a_mapping_can_be_a_file(api: Api, tmp_path: Path) -> None:
    license_id = (await api.key("publisher")).key.license_id
    assert await run(api, "list", license_id) == ["the license has no hooks"]
    path = tmp_path / "mine.json"
    mapping = {"fields": {"action": ["a"], "symbol": ["s"], "price": ["p"]}, "words": {"go": "long"}}
    path.write_text(json.dumps(mapping))
    await run(api, "create", license_id, "--name", "n", "--mapping", str(path))
    assert "own mapping" in (await run(api, "list", license_id))[0]
    path.write_text("{")
    with pytest.raises(UsageError):
        await run(api, "create", license_id, "--name", "n", "--mapping", str(path))


async def test_what_cannot_be_is_refused(api: Api) -> None:
    license_id = (await api.key("publisher")).key.license_id
    with pytest.raises(ValidationFailed):
        await run(api, "create", license_id, "--name", "n", "--mapping", "nope")
    with pytest.raises(NotFound):
        await run(api, "rotate", "hook_000000000000")
    with pytest.raises(NotFound):
        await run(api, "list", "lic_Zz0000000000")
