"""Lets holders of keys replace them, and gives test keys to everybody."""

from datetime import timedelta
from typing import Annotated

import msgspec

from functions.license_parameters import PublicId, Rotation
from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import ADMISSION, BODY, PUBLIC, json_body
from functions.web.routes import Routes
from shared.domain.access.try_limits import network_of
from shared.services.free_test_keys import NewTestKey
from shared.services.own_keys import EndedKey, OwnKeys, RotatedKey

routes = Routes()


class KeyParameters(msgspec.Struct, frozen=True):
    """Names a key, and confirms that it may be the one in use."""

    own_public_id: PublicId
    confirm: Annotated[
        str,
        msgspec.Meta(
            description="true ends the key of this request, too.",
            pattern=r"^(true|false)\Z",
            examples=["true"],
            extra={"expected": "Expected true or false."},
        ),
    ] = "false"


@routes.get(
    "license/keys",
    scope="bot",
    summary="The keys of the license: how they begin, scopes, times; never the keys themselves",
    answer=OwnKeys,
    problems=ADMISSION,
)
async def get_license_keys(call: Call) -> OwnKeys:
    """Lists the keys of the caller's license, the newest first."""
    return await call.services.own_keys.list_keys(call.grant)


@routes.post(
    "license/rotate",
    scope="bot",
    summary="Replace the key of this request; the answer shows the new key, once",
    holds_secret=True,
    body=json_body(Rotation, body_limits.ROTATE, required=False),
    answer=RotatedKey,
    statuses=((201, "Replaced; the former key works until former_ends_at"),),
    problems=(*ADMISSION, *BODY, "keys_exceeded", "tries_exceeded", "conflict"),
)
async def rotate_license_key(call: Call, request: Rotation) -> Answer:
    """Replaces the caller's key, which works for a while beside the new one."""
    overlap = timedelta(seconds=request.overlap_s)
    return Answer(await call.services.own_keys.rotate(call.grant, overlap), 201)


@routes.delete(
    "license/keys/{own_public_id}",
    scope="bot",
    summary="End a key of the license at once; its connections are closed",
    parameters=KeyParameters,
    answer=EndedKey,
    problems=(*ADMISSION, "validation_failed", "not_found", "conflict"),
)
async def end_license_key(call: Call, parameters: KeyParameters) -> EndedKey:
    """Ends a key of the caller's license; the caller's own only if that is confirmed."""
    is_confirmed = parameters.confirm == "true"
    return await call.services.own_keys.end(call.grant, parameters.own_public_id, confirmed=is_confirmed)


@routes.post(
    "test-keys",
    scope=PUBLIC,
    summary="Get a test key, free of charge, which hears the test stream for 30 days",
    holds_secret=True,
    answer=NewTestKey,
    statuses=((201, "Created; the answer shows the key, once"),),
    problems=("tries_exceeded", "cache_unavailable", "key_store_unavailable"),
)
async def create_test_key(call: Call) -> Answer:
    """Makes a test license with a key of its own; it hears the symbol TEST, and nothing else."""
    return Answer(await call.services.test_keys.create(network_of(call.client_address)), 201)
