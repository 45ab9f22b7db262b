"""Confidence for market states."""

import azure.functions as func
import msgspec

from functions.web import Answer, Call, endpoint
from shared.domain.confidence.answers import ConfidenceAnswer
from shared.domain.confidence.market_state import decode_state, decode_states
from shared.errors import Forbidden, SignalCloudError

blueprint = func.Blueprint()


class ConfidenceBatch(msgspec.Struct, frozen=True):
    """One answer for each state, in the order asked."""

    confidences: list[ConfidenceAnswer]


@blueprint.function_name("get_confidence")
@blueprint.route("ml/get_confidence", methods=["POST"])
@endpoint
async def get_confidence(call: Call) -> Answer:
    """The calibrated probability that the signalled side makes money, for one market state."""
    services = call.services
    confidence = services.confidence
    question, problem = None, None
    try:
        state = decode_state(call.body())
        question = confidence.question(state) or await confidence.first_question(state)
    except SignalCloudError as error:
        # The key is judged first: who may not ask is not told what was wrong with the question.
        problem = error
    key = question.key if question is not None else None
    admitted = await services.access.admit(call.header("authorization"), "bot", confidence_key=key)
    call.rate, call.grant = admitted.rate, admitted.grant
    services.counters.add("confidence_asked")
    if problem is not None:
        raise problem
    assert question is not None
    try:
        call.licensed_symbol(question.state.symbol)
    except Forbidden:
        await services.access.release(admitted)
        raise
    lookup = admitted.lookup
    answer = confidence.cached_answer(question, lookup) or await confidence.answer(question, lookup)
    if answer.cached:
        services.counters.add("confidence_cached")
    return Answer(answer.json)


@blueprint.function_name("get_confidence_batch")
@blueprint.route("ml/get_confidence/batch", methods=["POST"])
@endpoint
async def get_confidence_batch(call: Call) -> Answer:
    """The confidences of 1 to 100 market states, in their order; one request of the rate limit."""
    await call.admit("bot")
    states = decode_states(call.body())
    call.services.counters.add("confidence_asked", len(states))
    for index, state in enumerate(states):
        call.licensed_symbol(state.symbol, f"states[{index}].symbol")
    return Answer(ConfidenceBatch(await call.services.confidence.answer_batch(states)))
