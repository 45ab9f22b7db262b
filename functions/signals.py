"""Signals out, and bars and signals in."""

import azure.functions as func

from functions.web import Answer, Call, endpoint
from shared.domain.limits import MAX_SEQUENCE
from shared.errors import FieldError, ValidationFailed
from shared.services.signals import MAX_PAGE, BarsRequest, SignalRequest

MAX_IDEMPOTENCY_KEY = 128

blueprint = func.Blueprint()


@blueprint.function_name("get_signals")
@blueprint.route("signals", methods=["GET"])
@endpoint
async def get_signals(call: Call) -> Answer:
    """Signals of one symbol in sequence order, to fill a gap or to replay."""
    await call.admit("bot")
    query = call.query("symbol", "after", "limit")
    symbol = query.symbol(required=True)
    after, limit = query.integer("after", 0, 0, MAX_SEQUENCE), query.integer("limit", 100, 1, MAX_PAGE)
    query.done()
    return Answer(await call.services.signals.page(call.licensed_symbol(symbol), after, limit))


@blueprint.function_name("post_signals")
@blueprint.route("signals", methods=["POST"])
@endpoint
async def post_signals(call: Call) -> Answer:
    """Publishes a signal: stored in sequence, then pushed to every bot on its symbol."""
    grant = await call.admit("publisher")
    request = call.decoded(SignalRequest)
    call.licensed_symbol(request.symbol)
    key = call.request.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= MAX_IDEMPOTENCY_KEY and key.isprintable()):
        message = f"Expected 1 to {MAX_IDEMPOTENCY_KEY} printable characters."
        raise ValidationFailed((FieldError("idempotency-key", "out_of_range", message),))
    # Keys of different publishers must not meet.
    own_key = f"{grant.license.account_id}:{key}" if key else None
    message_out, new = await call.services.signals.publish(request, own_key)
    if new:
        call.services.counters.add("signals_published")
    return Answer(message_out, 201 if new else 200)


@blueprint.function_name("post_bars")
@blueprint.route("bars", methods=["POST"])
@endpoint
async def post_bars(call: Call) -> Answer:
    """Takes bars of one symbol; each new bar runs the signal engine at once."""
    await call.admit("feeder")
    request = call.decoded(BarsRequest)
    call.licensed_symbol(request.symbol)
    report = await call.services.signals.take_bars(request)
    call.services.counters.add("bars_received", report.received)
    call.services.counters.add("signals_published", len(report.signals))
    return Answer(report)
