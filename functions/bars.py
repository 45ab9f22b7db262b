"""Accepts market data from feeders."""

from functions.web import body_limits
from functions.web.call import Call
from functions.web.declaration import WRITE, json_body
from functions.web.routes import Routes
from shared.services.bars import BarsReport, BarsRequest

routes = Routes()


@routes.post(
    "bars",
    scope="feeder",
    summary="Send up to 5,000 bars of one symbol",
    body=json_body(BarsRequest, body_limits.BARS),
    answer=BarsReport,
    problems=(*WRITE, "batch_too_large"),
)
async def post_bars(call: Call, bars: BarsRequest) -> BarsReport:
    """Stores bars of one symbol; if one is new, the signal engine runs at once."""
    return await call.services.bars.take(call.grant, bars)
