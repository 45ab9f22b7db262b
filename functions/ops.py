"""Shows the health and the status of the system, and describes the API."""

from typing import Annotated, Any

import msgspec

from functions.openapi import document
from functions.web.answers import HEALTH_TYPE, Answer
from functions.web.call import Call
from functions.web.declaration import ADMISSION, PUBLIC, READ
from functions.web.preflight import preflight_answer
from functions.web.routes import Routes, allowed_methods, register_function
from shared.errors import ConfigurationError, MethodNotAllowed, NotFound
from shared.services.health import Readiness, misconfigured
from shared.services.misuse import MAX_DAYS, Misuse
from shared.services.status import Status
from shared.services.suspicions import MAX_LISTED, SuspiciousTrades

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

routes = Routes()


def _readiness_answer(readiness: Readiness) -> Answer:
    return Answer(readiness, 503 if readiness.status == "fail" else 200, HEALTH_TYPE)


def _misconfigured(error: ConfigurationError) -> Answer:
    return _readiness_answer(misconfigured(error.detail))


def _inactive(detail: str) -> Answer:
    return Answer({"status": "fail", "detail": detail}, 503, HEALTH_TYPE)


@routes.get(
    "health",
    scope=PUBLIC,
    summary="Liveness",
    answer=dict[str, str],
    media_type=HEALTH_TYPE,
)
async def get_health(call: Call) -> dict[str, str]:
    """Shows that this process answers; does not check its dependencies."""
    return {"status": "pass"}


@routes.get(
    "health/ready",
    scope=PUBLIC,
    summary="Readiness: every dependency with its latency; 503 if a required one fails",
    answer=Readiness,
    statuses=((200, "Ready"), (503, "A required dependency fails")),
    media_type=HEALTH_TYPE,
    if_misconfigured=_misconfigured,
)
async def get_readiness(call: Call) -> Answer:
    """Shows every dependency with its latency; answers 503 if a required one fails."""
    return _readiness_answer(await call.services.readiness.readiness())


@routes.get(
    "health/active",
    scope=PUBLIC,
    summary="Whether this region is the active one: 503 if its database is a read replica",
    answer=dict[str, str],
    statuses=((200, "Active"), (503, "Another region's database accepts the writes")),
    media_type=HEALTH_TYPE,
    if_misconfigured=lambda error: _inactive(error.detail),
)
async def get_active(call: Call) -> Answer:
    """Shows whether the database accepts writes; Front Door sends requests to the region where it does."""
    if await call.services.region.is_active():
        return Answer({"status": "pass"}, 200, HEALTH_TYPE)
    return _inactive("The database is a read replica: another region accepts the writes.")


@routes.get(
    "status",
    scope="ops",
    summary="Counts, feeds, models and delays of the system",
    answer=Status,
    problems=(*ADMISSION, "database_unavailable"),
)
async def get_status(call: Call) -> Status:
    """Shows counts, feeds, models and delays of the system, over all processes."""
    return await call.services.status.status()


class ListParameters(msgspec.Struct, frozen=True):
    """Bounds a list."""

    limit: Annotated[int, msgspec.Meta(description="At most this many.", ge=1, le=MAX_LISTED)] = 100


@routes.get(
    "ops/trades/suspicious",
    scope="ops",
    summary="Trades that do not fit the signals that they claim, the newest of each account first",
    parameters=ListParameters,
    answer=SuspiciousTrades,
    problems=READ,
)
async def get_suspicious_trades(call: Call, chosen: ListParameters) -> SuspiciousTrades:
    """Lists trades of all accounts that do not fit the signals that they claim, with the reason."""
    return await call.services.suspicions.newest(chosen.limit)


class MisuseParameters(msgspec.Struct, frozen=True):
    """Bounds a list of accounts."""

    days: Annotated[int, msgspec.Meta(description="The last days, today included.", ge=1, le=MAX_DAYS)] = 7
    limit: Annotated[int, msgspec.Meta(description="At most this many.", ge=1, le=MAX_LISTED)] = 100


@routes.get(
    "ops/misuse",
    scope="ops",
    summary="Accounts whose use of their keys stands out: addresses, sessions, limits, impossible trades",
    parameters=MisuseParameters,
    answer=Misuse,
    problems=READ,
)
async def get_misuse(call: Call, chosen: MisuseParameters) -> Misuse:
    """Lists accounts by what stands out, with the thresholds; nothing is blocked by it."""
    return await call.services.misuse.list(chosen.days, chosen.limit)


@routes.get("openapi.json", scope=PUBLIC, summary="This document", answer=dict[str, Any])
async def get_openapi(call: Call) -> Answer:
    """Describes this API as an OpenAPI 3.1 document."""
    described = document(call.services.strategies)
    return Answer(described, headers={"cache-control": "public, max-age=300"})


async def zz_unmatched(call: Call) -> Answer:
    """Answers 404 if no route has this address, and 405 if none of them has this method; and preflights."""
    path = call.request.route_params.get("path") or ""
    answer = preflight_answer(call, path)
    if answer is not None:
        return answer
    methods = allowed_methods(path)
    if methods:
        raise MethodNotAllowed(f"Use {', '.join(methods)} here.", allow=methods)
    raise NotFound("There is nothing at this address; /api/openapi.json lists every route.")


# The host takes the first function by name whose route matches, so this name sorts after all others.
register_function(routes.blueprint, "{*path}", ALL_METHODS, zz_unmatched)
