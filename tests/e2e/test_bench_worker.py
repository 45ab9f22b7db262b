"""The bench's measure under Microsoft's worker library, on the services of the running stack."""

import json

import pytest

from loadtests.baseline import echo
from loadtests.bench import market
from loadtests.bench.servers import RunningStack as BenchStack
from loadtests.bench.worker.cost import WorkerCost, run_process
from loadtests.bench.worker.process import Plan
from tests.support.running import RunningStack

STATES = 5


def test_a_cached_confidence_and_an_echo_are_measured_in_one_process(stack: RunningStack) -> None:
    numbers = market.shuffled_states(seed=4)[:STATES]
    plan = Plan(
        keys=[stack.key("bot bench")] * STATES,
        bodies=[market.body(number) for number in numbers],
        concurrency=4,
        rounds=1,
        seconds=0.05,
        warm_up_s=0.1,
    )
    outcome = run_process(plan, BenchStack(stack.state, stack.document, []).app_settings)
    cost = WorkerCost(outcome.rounds, wrong=0)
    assert cost.times_echo > 1
    assert cost.own_us > 0
    assert cost.cached_share > 0.9
    with stack.client("bot bench") as client:
        answers = [
            client.post("/ml/get_confidence", content=body, headers={"Content-Type": "application/json"})
            for body in plan.bodies
        ]
    assert outcome.confidences == [answer.json()["confidence"] for answer in answers]


def test_the_echo_has_the_form_of_the_real_answer(stack: RunningStack) -> None:
    with stack.client("bot bench") as client:
        answer = client.post("/ml/get_confidence", content=market.body(0))
    added_by_host = {"connection", "content-length", "content-type", "date", "server"}
    assert answer.headers.keys() - added_by_host == {name.lower() for name in echo.HEADERS}
    assert answer.json().keys() == json.loads(echo.BODY).keys()
    assert abs(len(answer.content) - len(echo.BODY)) < 20


def test_the_reason_is_shown_if_the_app_cannot_be_measured() -> None:
    plan = Plan(keys=["key"], bodies=[b"{}"], concurrency=1, rounds=1, seconds=0.01, warm_up_s=0.01)
    settings = {"DATABASE_URL": "", "REDIS_URL": "", "TABLES_CONNECTION_STRING": "", "API_KEY_PEPPER": ""}
    with pytest.raises(RuntimeError, match=r"(?s)the measured process ended with 1: .*Error"):
        run_process(plan, settings)
