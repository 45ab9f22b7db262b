"""How a bot gets onto the hub."""

from typing import Annotated

import azure.functions as func
import msgspec

from functions.web import Answer, Call, endpoint
from shared.domain.bars import Symbol
from shared.domain.licenses import MAX_SYMBOLS
from shared.services.trades import symbol_not_licensed

blueprint = func.Blueprint()


class NegotiateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The symbols wanted; all that the license covers if left out."""

    symbols: Annotated[list[Symbol], msgspec.Meta(max_length=MAX_SYMBOLS)] | None = None


@blueprint.function_name("negotiate")
@blueprint.route("ws/negotiate", methods=["POST"])
@endpoint
async def negotiate(call: Call) -> Answer:
    """A client access URL whose holder may join exactly the groups of the symbols asked for."""
    grant = await call.admit("bot")
    request = call.decoded(NegotiateRequest) if call.body() else NegotiateRequest()
    licensed = grant.license.symbols
    wanted = list(dict.fromkeys(request.symbols)) if request.symbols is not None else list(licensed)
    refused = {symbol: f"symbols[{i}]" for i, symbol in enumerate(wanted) if symbol not in licensed}
    if refused:
        raise symbol_not_licensed(refused, licensed)
    call.services.counters.add("negotiated")
    # The account is the hub's user: revoking a license or a key closes every connection of its account.
    return Answer(await call.services.realtime.client_access(grant.license.account_id, wanted))
