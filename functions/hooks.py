"""Takes alerts of publishers whose platform can set no header, and makes addresses for them."""

from datetime import timedelta
from typing import Annotated, Any

import msgspec

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import ADMISSION, BODY, PUBLIC, READ, Body, json_body
from functions.web.routes import Routes
from shared.domain.access.hooks import HOOK_ID_PATTERN, Hook, HookRequest
from shared.services.hook_registry import (
    DEFAULT_OVERLAP,
    MAX_OVERLAP,
    HookRegistry,
    Hooks,
    HookWithAddress,
)
from shared.services.hooks import HookAnswer

_MAX_SECRET = 64

routes = Routes()


def registry_of(call: Call) -> HookRegistry:
    """The registry whose changes are audited under the caller's key."""
    return call.services.hook_registry(call.grant.actor)


class SecretParameters(msgspec.Struct, frozen=True):
    """Names the hook by its secret. Any text is taken, so that no answer repeats a secret that is wrong."""

    secret: Annotated[
        str,
        msgspec.Meta(description="The secret in the hook's address: sch_...", extra={"in": "path"}),
    ]


class HookParameters(msgspec.Struct, frozen=True):
    """Names a hook."""

    hook_id: Annotated[
        str,
        msgspec.Meta(
            description="The hook's id, which is not its secret.",
            pattern=HOOK_ID_PATTERN,
            examples=["hook_0a1B2c3D4e5F"],
            extra={"in": "path", "expected": "Expected hook_ and 12 letters and digits."},
        ),
    ]


class HookRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many seconds the former secret works beside the new one; an hour if it is left out."""

    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=int(MAX_OVERLAP.total_seconds()))] = int(
        DEFAULT_OVERLAP.total_seconds()
    )

    @property
    def overlap(self) -> timedelta:
        return timedelta(seconds=self.overlap_s)


@routes.post(
    "hooks/{secret}",
    scope=PUBLIC,
    summary="An alert of a publisher's platform, JSON or text, as the hook's mapping reads it",
    parameters=SecretParameters,
    body=Body(kinds=(dict[str, Any],), max_bytes=body_limits.ALERT),
    answer=HookAnswer,
    statuses=((201, "Published"), (200, "Published before, or nothing is open that it could close")),
    problems=(
        *(code for code in ADMISSION if code.startswith("license_")),
        *("rate_limited", "key_store_unavailable", "address_refused", "not_found", "conflict"),
        *("symbol_not_licensed", "database_unavailable", *BODY),
    ),
)
async def post_alert(call: Call, named: SecretParameters) -> Answer:
    """Publishes the signals that an alert means, once; the platform needs no header."""
    answer = await call.services.hooks.take(named.secret[:_MAX_SECRET], call.client_address, call.read_body)
    return Answer(answer, 201 if answer.outcome == "published" else 200)


@routes.post(
    "hooks",
    scope="publisher",
    summary="Make a hook of the own license; its address is shown once",
    holds_secret=True,
    body=json_body(HookRequest, body_limits.HOOK),
    answer=HookWithAddress,
    statuses=((201, "Made"),),
    problems=(*ADMISSION, *BODY, "symbol_not_licensed", "conflict", "database_unavailable"),
)
async def post_hooks(call: Call, request: HookRequest) -> HookWithAddress:
    """Makes an address that takes alerts for the license of the caller's key."""
    return await registry_of(call).create(call.grant.license.license_id, request)


@routes.get(
    "hooks",
    scope="publisher",
    summary="The hooks of the own account, without their secrets",
    answer=Hooks,
    problems=(*ADMISSION, "database_unavailable"),
)
async def get_hooks(call: Call) -> Hooks:
    """Lists the hooks of the caller's account, also those that have ended."""
    return await registry_of(call).of_account(call.grant.license.account_id)


@routes.post(
    "hooks/{hook_id}/rotate",
    scope="publisher",
    summary="Give a hook of the own account another secret; the former one works during an overlap",
    holds_secret=True,
    parameters=HookParameters,
    body=json_body(HookRotation, body_limits.HOOK, required=False),
    answer=HookWithAddress,
    problems=(*ADMISSION, *BODY, "not_found", "conflict", "database_unavailable"),
)
async def rotate_hook(call: Call, named: HookParameters, request: HookRotation) -> HookWithAddress:
    """Gives a hook another secret, in case the former one was seen by others."""
    account_id = call.grant.license.account_id
    return await registry_of(call).rotate(named.hook_id, request.overlap, account_id=account_id)


@routes.post(
    "hooks/{hook_id}/end",
    scope="publisher",
    summary="End a hook of the own account at once",
    parameters=HookParameters,
    answer=Hook,
    problems=(*READ, "not_found"),
)
async def end_hook(call: Call, named: HookParameters) -> Hook:
    """Ends a hook: from now on its address takes no alerts."""
    return await registry_of(call).end(named.hook_id, account_id=call.grant.license.account_id)
