"""A caller with a clock that is ahead gets our time and the difference, on every route that takes a time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from tests.support.api import Answered, Api
from tests.support.requests import ADMITTING, SIGNAL, TRADE


class Field(NamedTuple):
    """A field of a route that must not be further in the future than `skew`; `ask` makes the request."""

    method: str
    path: str
    name: str
    skew: timedelta
    ask: Callable[[str], dict[str, Any]]

    async def send(self, api: Api, ahead: timedelta) -> Answered:
        key = await api.key(ADMITTING[self.method, self.path][0])
        given = self.ask((api.clock() + ahead).isoformat())
        return await api.call(self.method, self.path, key=key, **given)


TRADES, MARKET = timedelta(minutes=5), timedelta(seconds=5)
FIELDS = [
    Field("POST", "trades", "exit_at", TRADES, lambda time: {"body": TRADE | {"exit_at": time}}),
    Field(
        "POST",
        "trades",
        "entry_at",
        TRADES,
        lambda time: {"body": TRADE | {"entry_at": time, "exit_at": time}},
    ),
    Field("POST", "signals", "event_at", MARKET, lambda time: {"body": SIGNAL | {"event_at": time}}),
    Field("GET", "trades", "since", TRADES, lambda time: {"since": time}),
    Field("GET", "performance", "since", TRADES, lambda time: {"since": time}),
]
CASES = [pytest.param(each, id=f"{each.method} {each.path} {each.name}") for each in FIELDS]


@pytest.mark.parametrize("field", CASES)
@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (timedelta(minutes=6), "6 min"),
        (timedelta(hours=5), "5 h"),
        (timedelta(days=2, hours=3), "2 days 3 h"),
    ],
)
async def test_a_clock_that_is_ahead_is_told_the_servers_time_and_the_difference(
    api: Api, field: Field, ahead: timedelta, told: str
) -> None:
    answered = await field.send(api, ahead)
    assert (answered.status, answered.code) == (422, "validation_failed")
    named = {error["field"].rpartition(".")[2]: error["message"] for error in answered.json["errors"]}
    assert f"{told} in the future: it is 2026-03-02T14:30:00Z here" in named[field.name]
    allowed = "5 min" if field.skew == TRADES else "5 s"
    assert f"At most {allowed} are allowed" in named[field.name]


@pytest.mark.parametrize("field", CASES)
async def test_the_tolerance_is_accepted_to_its_end(api: Api, field: Field) -> None:
    accepted = await field.send(api, field.skew)
    assert accepted.status in (200, 201), accepted.body
    assert (await field.send(api, field.skew + timedelta(microseconds=1))).status == 422


async def test_a_query_may_end_in_the_future_and_begin_long_ago(api: Api) -> None:
    key = await api.key("bot")
    asked: dict[str, Any] = {
        "since": "1970-01-01T00:00:00Z",
        "until": (api.clock() + timedelta(days=9)).isoformat(),
    }
    for path in ("trades", "performance"):
        assert (await api.call("GET", path, key=key, **asked)).status == 200
