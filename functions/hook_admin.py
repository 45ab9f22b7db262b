"""Lets operators make, list, rotate and end the hooks of any license."""

from functions.hooks import HookParameters, HookRotation, registry_of
from functions.license_parameters import NamedLicense
from functions.web import body_limits
from functions.web.call import Call
from functions.web.declaration import ADMISSION, BODY, json_body
from functions.web.routes import Routes
from shared.domain.access.hooks import Hook, HookRequest
from shared.services.hook_registry import Hooks, HookWithAddress

routes = Routes()

_NAMED = (*ADMISSION, "validation_failed", "not_found", "database_unavailable")


@routes.post(
    "ops/licenses/{license_id}/hooks",
    scope="admin",
    summary="Make a hook of a license; its address is shown once",
    holds_secret=True,
    parameters=NamedLicense,
    body=json_body(HookRequest, body_limits.HOOK),
    answer=HookWithAddress,
    statuses=((201, "Made"),),
    problems=(*ADMISSION, *BODY, "symbol_not_licensed", "not_found", "conflict", "database_unavailable"),
)
async def post_hook_of_license(call: Call, named: NamedLicense, request: HookRequest) -> HookWithAddress:
    """Makes an address that takes alerts for a license."""
    return await registry_of(call).create(named.license_id, request)


@routes.get(
    "ops/licenses/{license_id}/hooks",
    scope="ops",
    summary="The hooks of a license, without their secrets",
    parameters=NamedLicense,
    answer=Hooks,
    problems=_NAMED,
)
async def get_hooks_of_license(call: Call, named: NamedLicense) -> Hooks:
    """Lists the hooks of a license, also those that have ended."""
    return await registry_of(call).of_license(named.license_id)


@routes.post(
    "ops/hooks/{hook_id}/rotate",
    scope="admin",
    summary="Give a hook another secret; the former one works during an overlap",
    holds_secret=True,
    parameters=HookParameters,
    body=json_body(HookRotation, body_limits.HOOK, required=False),
    answer=HookWithAddress,
    problems=(*ADMISSION, *BODY, "not_found", "conflict", "database_unavailable"),
)
async def rotate_any_hook(call: Call, named: HookParameters, rotation: HookRotation) -> HookWithAddress:
    """Gives a hook of any license another secret."""
    return await registry_of(call).rotate(named.hook_id, rotation.overlap, account_id=None)


@routes.delete(
    "ops/hooks/{hook_id}",
    scope="admin",
    summary="End a hook at once",
    parameters=HookParameters,
    answer=Hook,
    problems=_NAMED,
)
async def delete_hook(call: Call, named: HookParameters) -> Hook:
    """Ends a hook of any license: from now on its address takes no alerts."""
    return await registry_of(call).end(named.hook_id, account_id=None)
