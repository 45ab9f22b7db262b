"""The champion of each strategy is loaded, refreshed, replaced and, if it cannot be served, stood in for."""

import asyncio
import time

import msgspec
import pytest

from shared.errors import Unavailable
from shared.services import champions
from tests.support.evaluator import (
    STATE,
    Clock,
    Engine,
    Models,
    Redis,
    answered,
    ask,
    asked,
    evaluator,
    stored_model,
    until,
)
from tests.support.strategies import market_state


async def test_a_promotion_between_admission_and_answer_keeps_key_and_model_together() -> None:
    redis, clock = Redis(), Clock()
    models = Models(stored_model("vwap_bounce-a"))
    service = evaluator(models, redis, Engine(), clock)
    query = await asked(service)
    admitted = await redis.find(query.key)
    models.stored = stored_model("vwap_bounce-b")
    clock.now += champions.REFRESH_S
    await asked(service)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert (await asked(service)).model.version == "vwap_bounce-b"
    assert (await answered(service, query, admitted)).model_version == "vwap_bounce-a"
    await until(lambda: not redis.locks)
    assert list(redis.values) == [query.key]


async def test_without_any_model_the_prior_is_served_and_says_so() -> None:
    redis, engine = Redis(), Engine()
    service = evaluator(Models(None), redis, engine, time.monotonic)
    answer = await ask(service, redis)
    assert (answer.confidence, answer.basis, answer.model_version) == (
        0.5,
        "base_rate",
        "vwap_bounce-untrained",
    )
    assert engine.evaluated == []


async def test_a_base_rate_champion_needs_no_inference() -> None:
    redis, engine = Redis(), Engine()
    models = Models(stored_model("vwap_bounce-b", base_rate=0.61803, artefact=None))
    answer = await ask(evaluator(models, redis, engine, time.monotonic), redis)
    assert (answer.confidence, answer.basis, answer.model_version) == (0.618, "base_rate", "vwap_bounce-b")
    assert engine.evaluated == []


async def test_a_cold_start_without_postgres_is_unavailable_and_does_not_hammer_it() -> None:
    redis, clock = Redis(), Clock()
    models = Models(stored_model(), away=True)
    service = evaluator(models, redis, Engine(), clock)
    refused = await asyncio.gather(*(asked(service) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(error, Unavailable) and error.code == "database_unavailable" for error in refused)
    with pytest.raises(Unavailable):
        await asked(service)
    assert models.asked == 1
    models.away = False
    clock.now += champions.RETRY_S
    assert (await ask(service, redis)).confidence == 0.35


async def test_a_promotion_is_seen_within_the_refresh_time_and_nobody_waits_for_it() -> None:
    redis, engine, clock = Redis(), Engine(), Clock()
    models = Models(stored_model("vwap_bounce-a"))
    service = evaluator(models, redis, engine, clock)
    assert (await ask(service, redis)).model_version == "vwap_bounce-a"
    models.stored = stored_model("vwap_bounce-b")
    clock.now += champions.REFRESH_S - 0.1
    assert (await ask(service, redis)).model_version == "vwap_bounce-a"
    assert models.asked == 1
    clock.now += 0.2
    assert (await asked(service)).key.endswith(":vwap_bounce-a"), "served stale while it refreshes"
    await asyncio.gather(*(ask(service, redis) for _ in range(20)))
    assert (await ask(service, redis)).model_version == "vwap_bounce-b"
    assert models.asked == 2
    assert engine.loaded == ["vwap_bounce-a", "vwap_bounce-b"]


async def test_a_worker_that_was_idle_never_answers_from_a_withdrawn_model() -> None:
    redis, clock = Redis(), Clock()
    models = Models(stored_model("vwap_bounce-withdrawn"))
    service = evaluator(models, redis, Engine(), clock)
    assert (await ask(service, redis)).model_version == "vwap_bounce-withdrawn"
    models.stored = None
    clock.now += 60
    assert (await ask(service, redis)).model_version == "vwap_bounce-untrained"
    assert models.asked == 2


async def test_a_withdrawn_model_is_served_by_nobody_after_five_seconds() -> None:
    redis, clock = Redis(), Clock()
    models = Models(stored_model("vwap_bounce-withdrawn"))
    service = evaluator(models, redis, Engine(), clock)
    await ask(service, redis)
    models.stored = None
    for _ in range(100):
        clock.now += 0.0625
        answer = await ask(service, redis)
        if clock.now >= 1005:
            assert answer.model_version == "vwap_bounce-untrained"


async def test_while_the_champion_is_fresh_no_request_waits_for_it() -> None:
    clock = Clock()
    models = Models(stored_model())
    service = evaluator(models, Redis(), Engine(), clock)
    await asked(service)
    for _ in range(40):
        clock.now += 0.5
        assert service.query(STATE) is not None, "confirmed again before its time is over"
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


async def test_a_database_that_hangs_delays_one_wait_of_a_second_and_the_last_champion_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(champions, "WAIT_S", 0.02)
    redis, clock = Redis(), Clock()
    models = Models(stored_model())
    service = evaluator(models, redis, Engine(), clock)
    await ask(service, redis)
    hanging = asyncio.Event()

    async def hang(strategy: str) -> None:
        await hanging.wait()

    monkeypatch.setattr(models, "champion", hang)
    clock.now += 60
    began = time.monotonic()
    answers = await asyncio.gather(*(ask(service, redis) for _ in range(20)))
    assert {answer.model_version for answer in answers} == {"vwap_bounce-a"}
    assert 0.015 < time.monotonic() - began < 1
    assert service.query(STATE) is not None, "the next request does not wait"
    hanging.set()


async def test_the_last_champion_is_served_while_postgres_is_away_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    redis, clock = Redis(), Clock()
    models = Models(stored_model())
    service = evaluator(models, redis, Engine(), clock)
    await ask(service, redis)
    models.away = True
    for _ in range(5):
        clock.now += champions.REFRESH_S + 1
        assert (await ask(service, redis)).model_version == "vwap_bounce-a"
        await asyncio.sleep(0.005)
    assert models.asked == 6
    assert len([line for line in caplog.messages if "cannot be read" in line]) == 1


@pytest.mark.parametrize("artefact", [b"rubbish", None])
async def test_a_model_that_cannot_be_served_leaves_its_base_rate_under_a_version_of_its_own(
    artefact: bytes | None,
) -> None:
    stored = msgspec.structs.replace(stored_model(), artefact=artefact)
    redis, engine = Redis(), Engine()
    answer = await ask(evaluator(Models(stored), redis, engine, time.monotonic), redis)
    assert (answer.confidence, answer.basis, answer.model_version) == (
        0.6,
        "base_rate",
        "vwap_bounce-a-base-rate",
    )


async def test_a_model_of_another_schema_leaves_its_base_rate() -> None:
    stored = stored_model()
    stored.document["columns"] = stored.document["columns"][:-1]
    redis, engine = Redis(), Engine()
    answer = await ask(evaluator(Models(stored), redis, engine, time.monotonic), redis)
    assert (answer.confidence, answer.basis) == (0.6, "base_rate")
    assert engine.evaluated == []


async def test_an_unreadable_document_leaves_the_prior() -> None:
    stored = msgspec.structs.replace(stored_model(), document={"base_rate": "high"})
    redis = Redis()
    answer = await ask(evaluator(Models(stored), redis, Engine(), time.monotonic), redis)
    assert (answer.confidence, answer.model_version) == (0.5, "vwap_bounce-untrained")


async def test_a_new_model_lets_go_of_what_the_former_one_was_asked() -> None:
    clock, models = Clock(), Models(stored_model("vwap_bounce-a"))
    service = evaluator(models, Redis(), Engine(), clock)
    states = [market_state("vwap_bounce", "ES", "LONG", {"vwap_distance": 2.1, "rsi": n}) for n in range(3)]
    for state in states:
        await asked(service, state)
    models.stored = stored_model("vwap_bounce-b")
    clock.now += champions.REFRESH_S
    await asked(service)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert (await asked(service, states[0])).model.version == "vwap_bounce-b"
    assert list(service._queries) == [states[0].key]


async def test_no_model_is_asked_for_before_it_is_due() -> None:
    clock, models = Clock(), Models(stored_model())
    service = evaluator(models, Redis(), Engine(), clock)
    assert service.query(STATE) is None, "nothing is known yet"
    await service.first_query(STATE)
    clock.now += champions.REFRESH_S - 0.001
    assert service.query(STATE) is not None
    await asyncio.sleep(0)
    assert models.asked == 1
    clock.now += 0.001
    assert service.query(STATE) is not None
    await until(lambda: models.asked == 2)


async def test_the_end_of_an_outage_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock, models = Clock(), Models(stored_model(), away=True)
    service = evaluator(models, Redis(), Engine(), clock)
    with caplog.at_level("INFO"):
        with pytest.raises(Unavailable) as refused:
            await service.first_query(STATE)
        assert refused.value.detail == "The database cannot be reached."
        models.away = False
        clock.now += champions.RETRY_S - 0.001
        with pytest.raises(Unavailable):
            await service.first_query(STATE)
        assert models.asked == 1
        clock.now += 0.001
        await service.first_query(STATE)
    assert caplog.messages == [
        "models of vwap_bounce cannot be read, serving none",
        "models of vwap_bounce can be read again",
    ]


async def test_a_champion_that_stays_is_loaded_once() -> None:
    clock, engine = Clock(), Engine()
    service = evaluator(Models(stored_model()), Redis(), engine, clock)
    await service.first_query(STATE)
    for _ in range(3):
        clock.now += champions.REFRESH_S
        model = service.query(STATE)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        assert model is not None
    assert engine.loaded == ["vwap_bounce-a"]
