"""Serves signals to bots, and accepts them from publishers."""

from typing import Annotated

import msgspec

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import READ, WRITE, json_body
from functions.web.parameters import AfterParameter, SymbolParameter
from functions.web.routes import Routes
from shared.domain.market.messages import SignalMessage
from shared.domain.market.signals import SignalRequest
from shared.services.signals import MAX_PAGE, SignalPage

MAX_IDEMPOTENCY_KEY = 128

routes = Routes()


class SignalPageParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Selects signals of one symbol."""

    symbol: SymbolParameter
    after: AfterParameter = 0
    limit: Annotated[int, msgspec.Meta(description="At most this many.", ge=1, le=MAX_PAGE)] = 100


class PublishParameters(msgspec.Struct, frozen=True, rename={"idempotency_key": "idempotency-key"}):
    """Names the signal, so that the publisher can send it again."""

    idempotency_key: (
        Annotated[
            str,
            msgspec.Meta(
                description=(
                    "The publisher's name for this signal, whatever its symbol. The same name with the same "
                    "content returns the same signal; with other content it is a conflict. Without a name, "
                    "the same strategy, symbol, side, kind and price within a minute is the same signal."
                ),
                min_length=1,
                max_length=MAX_IDEMPOTENCY_KEY,
                extra={
                    "in": "header",
                    "expected": f"Expected 1 to {MAX_IDEMPOTENCY_KEY} printable characters.",
                },
            ),
        ]
        | None
    ) = None


@routes.get(
    "signals",
    scope="bot",
    summary="Signals of one symbol in sequence order",
    parameters=SignalPageParameters,
    answer=SignalPage,
    problems=(*READ, "symbol_not_licensed"),
)
async def get_signals(call: Call, page: SignalPageParameters) -> SignalPage:
    """Lists signals of one symbol in sequence order, to fill a gap or to replay."""
    return await call.services.signals.page(call.grant, page.symbol, page.after, page.limit)


@routes.post(
    "signals",
    scope="publisher",
    summary="Publish a signal, once per Idempotency-Key",
    parameters=PublishParameters,
    body=json_body(SignalRequest, body_limits.SIGNAL),
    answer=SignalMessage,
    statuses=(
        (201, "Published"),
        (
            200,
            "Published before: under the same Idempotency-Key, or without a key the same alert in the last "
            "minute",
        ),
    ),
    problems=(*WRITE, "conflict"),
)
async def post_signals(call: Call, parameters: PublishParameters, signal: SignalRequest) -> Answer:
    """Publishes a signal: stores it in sequence, then sends it to every bot on its symbol."""
    published, is_new = await call.services.signals.publish(call.grant, signal, parameters.idempotency_key)
    return Answer(published, 201 if is_new else 200)
