"""Lets running bots take, see and release the places of their license; operators see and end them."""

from typing import Annotated

import msgspec

from functions.license_parameters import LicenseId, NamedLicense
from functions.web import body_limits
from functions.web.call import Call
from functions.web.declaration import ADMISSION, BODY, json_body
from functions.web.routes import Routes
from shared.domain.access.sessions import SESSION_ID_PATTERN, Session
from shared.services.sessions import Released, SessionRequest, Sessions

routes = Routes()

SessionId = Annotated[
    str,
    msgspec.Meta(
        description="The session_id of a session.",
        pattern=SESSION_ID_PATTERN,
        examples=["ses_Ab1234567890Cd123456"],
        extra={"in": "path", "expected": "Expected ses_ and 20 letters and digits"},
    ),
]


class OwnSessionParameters(msgspec.Struct, frozen=True):
    """Names one of the license's sessions."""

    session_id: SessionId


class SessionParameters(msgspec.Struct, frozen=True):
    """Names a license and one of its sessions."""

    license_id: LicenseId
    session_id: SessionId


@routes.post(
    "sessions",
    scope="bot",
    summary="Take a place of each symbol for a running bot; all or none",
    body=json_body(SessionRequest, body_limits.SESSION),
    answer=Session,
    problems=(*ADMISSION, *BODY, "symbol_not_licensed", "session_taken"),
)
async def post_session(call: Call, request: SessionRequest) -> Session:
    """Takes a session; the caller that sends its Session-Id keeps it, with the symbols of this request."""
    return await call.services.sessions.take(call.grant, request, call.header("session-id"))


@routes.get(
    "sessions",
    scope="bot",
    summary="Live sessions of the own license, and the places of each symbol; takes none",
    answer=Sessions,
    problems=(*ADMISSION, "cache_unavailable"),
)
async def get_sessions(call: Call) -> Sessions:
    """Shows who holds the places of the license."""
    return await call.services.sessions.look(call.grant)


@routes.delete(
    "sessions/{session_id}",
    scope="bot",
    summary="Release a session of the own license: its places are free at once, its connection is closed",
    parameters=OwnSessionParameters,
    answer=Released,
    problems=(*ADMISSION, "validation_failed", "cache_unavailable"),
)
async def delete_session(call: Call, named: OwnSessionParameters) -> Released:
    """Releases a session of the license; idempotent."""
    return await call.services.sessions.release(call.grant, named.session_id)


@routes.get(
    "ops/licenses/{license_id}/sessions",
    scope="ops",
    summary="Live sessions of a license",
    parameters=NamedLicense,
    answer=Sessions,
    problems=(*ADMISSION, "validation_failed", "not_found", "cache_unavailable"),
)
async def get_sessions_of_license(call: Call, named: NamedLicense) -> Sessions:
    """Shows who holds the places of a license."""
    return await call.services.sessions.sessions_of(named.license_id)


@routes.delete(
    "ops/licenses/{license_id}/sessions/{session_id}",
    scope="admin",
    summary="End a session of a license: its bot is told, and its connection is closed",
    parameters=SessionParameters,
    answer=Released,
    problems=(*ADMISSION, "validation_failed", "not_found", "cache_unavailable"),
)
async def delete_session_of_license(call: Call, named: SessionParameters) -> Released:
    """Ends a session; idempotent. Its bot may take a new one if a place is free."""
    return await call.services.sessions.end(named.license_id, named.session_id, call.grant.actor)
