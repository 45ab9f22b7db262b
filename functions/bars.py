"""Accepts market data from feeders."""

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import WRITE, Body
from functions.web.preferences import applied
from functions.web.routes import Routes
from shared.domain.items import decode_items
from shared.domain.market.bars import MAX_BARS_PER_REQUEST, Bar
from shared.services.bars import BarsReport, BarsRequest, SentBars

routes = Routes()


def read_bars(body: bytes) -> SentBars:
    """The bars in a body, each decoded or refused; raises InvalidInput if more than bars is bad."""
    request, bars = decode_items(body, BarsRequest, "bars", Bar, MAX_BARS_PER_REQUEST)
    return SentBars(request.symbol, request.source, bars)


@routes.post(
    "bars",
    scope="feeder",
    summary="Send up to 5,000 bars of one symbol; bad ones refuse no other",
    body=Body(kinds=(BarsRequest,), max_bytes=body_limits.BARS, read=read_bars, in_part=True),
    answer=BarsReport,
    problems=(*WRITE, "batch_too_large"),
)
async def post_bars(call: Call, bars: SentBars) -> Answer:
    """Stores bars of one symbol; if one is new, the signal engine runs at once."""
    report = await call.services.bars.take(call.grant, bars, strict=call.handling == "strict")
    return Answer(report, headers=applied(call.handling))
