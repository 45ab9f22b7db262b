"""Every error that Signal Cloud raises on purpose.

    SignalCloudError
    |-- InvalidInput                 the caller sent something that cannot be accepted
    |   |-- MalformedJson            malformed_json
    |   |-- ValidationFailed         validation_failed, unknown_field
    |   |-- BodyTooLarge             body_too_large
    |   |-- BatchTooLarge            batch_too_large
    |   |-- UnsupportedMediaType     unsupported_media_type
    |-- Unauthenticated              key_missing, key_malformed, key_unknown, key_revoked, key_expired
    |-- Forbidden                    scope_missing, symbol_not_licensed, license_suspended,
    |                                license_expired, license_revoked
    |-- NotFound                     not_found
    |-- MethodNotAllowed             method_not_allowed
    |-- Conflict                     conflict
    |-- RateLimited                  rate_limited
    |-- Unavailable                  database_unavailable, cache_unavailable, key_store_unavailable,
    |                                realtime_unavailable; always worth a retry
    |-- ConfigurationError           configuration_invalid; stops the start, never reaches a caller

`code` is stable and part of the public contract. `detail` is public text. `internal` is for the
log only. How a code becomes an HTTP status is decided in functions/web.py, not here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: where it is, a stable code, why it is refused and what would be accepted."""

    field: str
    code: str
    message: str


class SignalCloudError(Exception):
    """Base of the tree; `detail` is public, `internal` is logged and never sent."""

    code = "internal"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        internal: str = "",
        errors: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.internal = internal
        self.errors = errors
        self.retry_after_s = retry_after_s


class InvalidInput(SignalCloudError):
    code = "validation_failed"


class MalformedJson(InvalidInput):
    code = "malformed_json"


class ValidationFailed(InvalidInput):
    """Carries every bad field; the code narrows to `unknown_field` when that is all that is wrong."""

    code = "validation_failed"

    def __init__(self, errors: tuple[FieldError, ...], detail: str = "") -> None:
        only_unknown = bool(errors) and all(error.code == "unknown_field" for error in errors)
        super().__init__(
            detail or "The request has fields that cannot be accepted; see errors.",
            code="unknown_field" if only_unknown else None,
            errors=errors,
        )


class BodyTooLarge(InvalidInput):
    code = "body_too_large"


class BatchTooLarge(InvalidInput):
    code = "batch_too_large"


class UnsupportedMediaType(InvalidInput):
    code = "unsupported_media_type"


class Unauthenticated(SignalCloudError):
    code = "key_unknown"


class Forbidden(SignalCloudError):
    code = "scope_missing"


class NotFound(SignalCloudError):
    code = "not_found"


class MethodNotAllowed(SignalCloudError):
    """Carries the methods that would do."""

    code = "method_not_allowed"

    def __init__(self, detail: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allow = allow


class Conflict(SignalCloudError):
    code = "conflict"


class RateLimited(SignalCloudError):
    code = "rate_limited"


class Unavailable(SignalCloudError):
    code = "database_unavailable"


class ConfigurationError(SignalCloudError):
    code = "configuration_invalid"
