"""Lets bots connect to the hub, and receives the hub's events."""

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.cloud_events import hub_event
from functions.web.declaration import ADMISSION, BODY, PUBLIC, Body, json_body
from functions.web.preflight import preflight_answer
from functions.web.routes import Routes
from shared.domain.access.hub_events import ConnectRequest
from shared.services.realtime import ClientAccess
from shared.services.sessions import NegotiateRequest

routes = Routes()


@routes.post(
    "ws/negotiate",
    scope="bot",
    summary="A client access URL for the hub",
    holds_secret=True,
    body=json_body(NegotiateRequest, body_limits.NEGOTIATE, required=False),
    answer=ClientAccess,
    problems=(*ADMISSION, *BODY, "symbol_not_licensed", "session_taken", "realtime_unavailable"),
)
async def negotiate(call: Call, request: NegotiateRequest) -> ClientAccess:
    """Returns a client access URL whose holder may join exactly the groups of the requested symbols."""
    return await call.services.sessions.negotiate(call.grant, request, call.header("session-id"))


@routes.post(
    "ws/events",
    scope=PUBLIC,
    summary="For Web PubSub: connect, connected and disconnected, as CloudEvents that prove their sender",
    body=Body(kinds=(ConnectRequest,), max_bytes=body_limits.HUB_EVENT),
    answer=None,
    statuses=((204, "Connection accepted, or event recorded"),),
    problems=(
        *(code for code in ADMISSION if code not in ("key_missing", "key_malformed", "rate_limited")),
        *(
            "access_url_used",
            "connections_exceeded",
            "session_lost",
            "database_unavailable",
            "realtime_unavailable",
        ),
        *BODY,
    ),
)
async def post_hub_events(call: Call) -> None:
    """Decides whether a client may connect, and counts the connections that Web PubSub reports."""
    event = hub_event(call.request.headers, call.services.settings.webpubsub_hub)
    await call.services.hub_events.take(event, call.request.headers, call.read_body)


@routes.options(
    "ws/events",
    scope=PUBLIC,
    summary="For Web PubSub: whether it may send events here",
    answer=None,
    statuses=((200, "Web PubSub may send events"), (204, "A preflight of a web page")),
    problems=("validation_failed",),
)
async def allow_hub_events(call: Call) -> Answer:
    """Answers whether Web PubSub may send events here; a preflight is a browser's, as on every route."""
    answer = preflight_answer(call, "ws/events")
    if answer is not None:
        return answer
    asked = call.request.headers.get("webhook-request-origin", "")
    return Answer(b"", headers={"webhook-allowed-origin": call.services.hub_events.allowed_origin(asked)})
