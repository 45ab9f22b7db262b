"""Shows a bot its own license."""

from functions.web.call import Call
from functions.web.declaration import ADMISSION
from functions.web.routes import Routes
from shared.services.own_license import OwnLicense, own_license

routes = Routes()


@routes.get(
    "license",
    scope="bot",
    summary="Own plan, symbols, limits, expiry and usage",
    answer=OwnLicense,
    problems=ADMISSION,
)
async def get_license(call: Call) -> OwnLicense:
    """Shows plan, symbols, limits, expiry and present usage of the key's license."""
    return own_license(call.grant, call.rate, await call.services.trades.usage(call.grant))
