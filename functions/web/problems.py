"""Turns errors into RFC 9457 problem JSON, and decides each code's HTTP status."""

import logging

import msgspec

from functions.web.answers import Answer
from functions.web.preferences import Handling, applied
from shared.domain.access.rate_limit import whole_seconds
from shared.errors import FieldError, InternalError, MethodNotAllowed, SignalCloudError, UnsupportedMediaType

PROBLEM_TYPE = "application/problem+json"

STATUS_OF_CODE = {
    "malformed_json": 400,
    "validation_failed": 422,
    "unknown_field": 422,
    "body_too_large": 413,
    "batch_too_large": 413,
    "unsupported_media_type": 415,
    "key_missing": 401,
    "key_malformed": 401,
    "key_unknown": 401,
    "key_revoked": 401,
    "key_expired": 401,
    "access_url_used": 401,
    "signature_invalid": 401,
    "signature_expired": 401,
    "scope_missing": 403,
    "symbol_not_licensed": 403,
    "strategy_not_licensed": 403,
    "address_refused": 403,
    "license_suspended": 403,
    "license_expired": 403,
    "license_revoked": 403,
    "storage_quota_exceeded": 403,
    "session_lost": 403,
    "keys_exceeded": 403,
    "claim_expired": 403,
    "not_found": 404,
    "trade_not_found": 404,
    "no_confidence": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "withdrawal_expired": 409,
    "session_taken": 409,
    "claim_used": 409,
    "rate_limited": 429,
    "daily_quota_exceeded": 429,
    "too_many_queries": 429,
    "connections_exceeded": 429,
    "tries_exceeded": 429,
    "internal": 500,
    "database_unavailable": 503,
    "cache_unavailable": 503,
    "key_store_unavailable": 503,
    "realtime_unavailable": 503,
}

log = logging.getLogger(__name__)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An RFC 9457 problem; `code` is stable, `errors` names each bad field."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[FieldError, ...] = ()


def our_fault() -> InternalError:
    """The error that a caller gets for a defect, without any detail of it."""
    return InternalError("Something failed on our side; try again.")


def problem_answer(error: SignalCloudError, request_id: str, handling: Handling | None = None) -> Answer:
    """The caller's answer for `error`; for a 5xx, the log gets `error.internal`.

    `handling` is the preference that was applied.
    """
    status = STATUS_OF_CODE[error.code]
    if status >= 500 and error.internal:
        log.warning("%s, request %s: %s", error.code, request_id, error.internal)
    headers = applied(handling)
    if error.retry_after_s is not None:
        headers["retry-after"] = str(whole_seconds(error.retry_after_s))
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allow)
    if isinstance(error, UnsupportedMediaType) and error.accept_encoding:
        headers["accept-encoding"] = error.accept_encoding
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="Signal Cloud"'
    problem = Problem(
        type=f"urn:signal-cloud:problem:{error.code}",
        title=error.code.replace("_", " ").capitalize(),
        status=status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
        errors=error.errors,
    )
    return Answer(problem, status, PROBLEM_TYPE, headers)
