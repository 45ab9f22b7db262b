"""Health for whoever watches, status for ops, and the description of the API."""

import azure.functions as func

from functions.openapi import allowed_methods, document
from functions.web import HEALTH_TYPE, Answer, Call, endpoint
from shared.errors import MethodNotAllowed, NotFound

blueprint = func.Blueprint()

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@blueprint.function_name("get_health")
@blueprint.route("health", methods=["GET", "HEAD"])
@endpoint
async def get_health(call: Call) -> Answer:
    """Liveness: this process answers. Says nothing of its dependencies."""
    return Answer({"status": "pass"}, content_type=HEALTH_TYPE)


@blueprint.function_name("get_health_ready")
@blueprint.route("health/ready", methods=["GET", "HEAD"])
@endpoint
async def get_health_ready(call: Call) -> Answer:
    """Readiness: every dependency with its latency; 503 when one fails that nothing works without."""
    readiness = await call.services.readiness.readiness()
    return Answer(readiness, 503 if readiness.status == "fail" else 200, HEALTH_TYPE)


@blueprint.function_name("get_status")
@blueprint.route("status", methods=["GET"])
@endpoint
async def get_status(call: Call) -> Answer:
    """What the system did and how it stands, over all processes."""
    await call.admit("ops")
    return Answer(await call.services.status.status())


@blueprint.function_name("get_openapi")
@blueprint.route("openapi.json", methods=["GET"])
@endpoint
async def get_openapi(call: Call) -> Answer:
    """This API as an OpenAPI 3.1 document."""
    return Answer(document(), headers={"cache-control": "public, max-age=300"})


# The host takes the first function by name whose route matches: this name sorts behind all others.
@blueprint.function_name("zz_unmatched")
@blueprint.route("{*path}", methods=ALL_METHODS)
@endpoint
async def unmatched(call: Call) -> Answer:
    """A clear answer for what is not there."""
    path = call.request.route_params.get("path") or ""
    methods = allowed_methods(path)
    if methods:
        raise MethodNotAllowed(f"Use {', '.join(methods)} here.", allow=methods)
    raise NotFound("There is nothing at this address; /api/openapi.json lists what there is.")
