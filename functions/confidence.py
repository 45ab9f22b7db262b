"""Confidence for market states."""

import azure.functions as func

from functions.web import Answer, Call, endpoint
from shared.domain.strategies import decode_state
from shared.errors import Forbidden, SignalCloudError

blueprint = func.Blueprint()


@blueprint.function_name("get_confidence")
@blueprint.route("ml/get_confidence", methods=["POST"])
@endpoint
async def get_confidence(call: Call) -> Answer:
    """The calibrated probability that the signalled side makes money, for one market state."""
    services = call.services
    services.counters.add("confidence_asked")
    state, problem = None, None
    try:
        state = decode_state(call.body())
    except SignalCloudError as error:
        # The key is judged first: who may not ask is not told what was wrong with the question.
        problem = error
    key = await services.confidence.cache_key(state) if state is not None else None
    admitted = await services.access.admit(call.authorization, "bot", confidence_key=key)
    call.rate, call.grant = admitted.rate, admitted.grant
    if state is None:
        assert problem is not None
        raise problem
    try:
        call.licensed_symbol(state.symbol)
    except Forbidden:
        await services.access.release(admitted)
        raise
    answer = await services.confidence.answer(state, admitted)
    services.counters.add("confidence_cached" if answer.cached else "confidence_waited_or_computed")
    return Answer(answer)
