"""How a bot gets onto the hub."""

from typing import Annotated

import azure.functions as func
import msgspec

from functions.web import Answer, Call, endpoint
from shared.domain.access.hub_events import ConnectRequest, hub_event
from shared.domain.access.licenses import MAX_SYMBOLS
from shared.domain.market.bars import Symbol
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


@blueprint.function_name("hub_events")
@blueprint.route("ws/events", methods=["POST", "OPTIONS"])
@endpoint
async def hub_events(call: Call) -> Answer:
    """Web PubSub's question before a client connects, and its news of connections: CloudEvents."""
    services, headers = call.services, call.request.headers
    if call.request.method == "OPTIONS":
        allowed = services.hub_events.allowed_origin(headers.get("webhook-request-origin", ""))
        return Answer(b"", headers={"webhook-allowed-origin": allowed})
    event = hub_event(headers, services.settings.webpubsub_hub)
    await services.hub_events.prove(event, headers)
    if event.kind == "connect":
        await services.hub_events.admit(event, call.decoded(ConnectRequest))
    services.hub_events.note(event)
    return Answer(b"", 204)
