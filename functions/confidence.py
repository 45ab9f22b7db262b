"""Answers confidences for market states."""

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import WRITE, Body, Cost
from functions.web.routes import Routes
from shared.domain.access.rate_limit import STATES_PER_UNIT
from shared.domain.confidence.answers import ConfidenceAnswer
from shared.services.confidence import ConfidenceBatch

routes = Routes()
_BATCH_COST = Cost(per_unit=STATES_PER_UNIT, items="states")


@routes.post(
    "ml/get_confidence",
    scope="bot",
    summary="The confidence for one market state",
    body=Body(kinds=("MarketState",), max_bytes=body_limits.CONFIDENCE),
    answer=ConfidenceAnswer,
    problems=(*WRITE, "strategy_not_licensed", "no_confidence"),
    admits_in_service=True,
)
async def get_confidence(call: Call) -> Answer:
    """Answers the calibrated probability that the signalled side makes money, for one market state."""
    return Answer(await call.services.confidence.answer(call))


@routes.post(
    "ml/get_confidence/batch",
    scope="bot",
    summary="The confidences for 1 to 100 market states, in their order",
    body=Body(kinds=("MarketStates",), max_bytes=body_limits.CONFIDENCE_BATCH),
    cost=_BATCH_COST,
    answer=ConfidenceBatch,
    problems=(*WRITE, "strategy_not_licensed", "batch_too_large", "no_confidence"),
)
async def get_confidence_batch(call: Call) -> ConfidenceBatch:
    """Answers the confidences of 1 to 100 market states."""

    async def charge(states: int) -> None:
        await call.charge(_BATCH_COST.of(states))

    return await call.services.confidence.answer_batch(call.grant, call.read_body(), charge)
