"""What a key's holder may know of its own license."""

import azure.functions as func

from functions.web import Answer, Call, endpoint
from shared.services.licenses import own_license

blueprint = func.Blueprint()


@blueprint.function_name("get_license")
@blueprint.route("license", methods=["GET"])
@endpoint
async def get_license(call: Call) -> Answer:
    """The plan, symbols, limits, expiry and present usage of the license behind the key."""
    grant = await call.admit("bot")
    return Answer(own_license(grant, call.rate))
