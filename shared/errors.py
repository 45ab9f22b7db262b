"""Defines every error that Signal Cloud raises on purpose: one class per cause, one code per class.

    SignalCloudError
    |-- InvalidInput                 the caller sent something that cannot be accepted
    |   |-- MalformedJson            malformed_json
    |   |-- ValidationFailed         validation_failed; unknown_field if nothing else is wrong
    |   |-- BodyTooLarge             body_too_large
    |   |-- BatchTooLarge            batch_too_large
    |   |-- UnsupportedMediaType     unsupported_media_type
    |-- Unauthenticated              the caller does not prove its identity
    |   |-- KeyMissing               key_missing
    |   |-- KeyMalformed             key_malformed
    |   |-- KeyUnknown               key_unknown
    |   |-- KeyRevoked               key_revoked
    |   |-- KeyExpired               key_expired
    |   |-- AccessUrlUsed            access_url_used
    |   |-- SignatureInvalid         signature_invalid
    |   |-- SignatureExpired         signature_expired
    |-- Forbidden                    the caller is known and may not do this
    |   |-- ScopeMissing             scope_missing
    |   |-- SymbolNotLicensed        symbol_not_licensed
    |   |-- StrategyNotLicensed      strategy_not_licensed
    |   |-- AddressRefused           address_refused
    |   |-- LicenseSuspended         license_suspended
    |   |-- LicenseExpired           license_expired
    |   |-- LicenseRevoked           license_revoked
    |   |-- StorageQuotaExceeded     storage_quota_exceeded
    |   |-- SessionLost              session_lost
    |   |-- ClaimExpired             claim_expired
    |   |-- KeysExceeded             keys_exceeded
    |-- NotFound                     not_found
    |   |-- TradeNotFound            trade_not_found
    |   |-- NoConfidence             no_confidence
    |-- MethodNotAllowed             method_not_allowed
    |-- Conflict                     conflict
    |   |-- WithdrawalExpired        withdrawal_expired; the trade is too old to be withdrawn
    |   |-- ExportTooLarge           conflict; the detail says who can make the export
    |   |-- SessionTaken             session_taken
    |   |-- ClaimUsed                claim_used
    |-- RateLimited                  rate_limited
    |-- DailyQuotaExceeded           daily_quota_exceeded
    |-- TooManyQueries               too_many_queries; the account has costly queries under way
    |-- ConnectionsExceeded          connections_exceeded; the plan allows no more open ones
    |-- TriesExceeded                tries_exceeded
    |-- Unavailable                  a dependency cannot be reached; a later attempt may succeed
    |   |-- DatabaseUnavailable      database_unavailable
    |   |   |-- DatabaseBusy         the server answers, but every connection of ours is in use
    |   |-- CacheUnavailable         cache_unavailable
    |   |-- KeyStoreUnavailable      key_store_unavailable
    |   |-- RealtimeUnavailable      realtime_unavailable
    |-- InternalError                internal; a fault in our code
    |   |-- ExportDamaged            never reaches a caller
    |   |-- TrainingFailed           never reaches a caller
    |-- ConfigurationError           configuration_invalid; GET health/ready names the settings

`code` is stable and part of the public contract. `detail` is public text. `internal` is for the log only.
functions/web/problems.py decides each code's HTTP status.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

FieldCode = Literal[
    "missing",
    "unknown_field",
    "repeated_field",
    "wrong_type",
    "invalid_format",
    "out_of_range",
    "unknown_value",
    "symbol_not_licensed",
    "market_closed",
    "differs",
    "no_confidence",
]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: its path, a stable code, and a message that says what would be accepted."""

    field: str
    code: FieldCode
    message: str


class SignalCloudError(Exception):
    """The base of all errors, never raised itself; `detail` is public, `internal` is logged, never sent."""

    code: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        internal: str = "",
        errors: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.internal = internal
        self.errors = errors
        self.retry_after_s = retry_after_s
        # Of the key that was refused, if the refused request counts: what its RateState says.
        self.quota: tuple[int, int, float, tuple[Any, ...]] | None = None


class InvalidInput(SignalCloudError):
    """The caller sent something that cannot be accepted."""


class MalformedJson(InvalidInput):
    code = "malformed_json"


class ValidationFailed(InvalidInput):
    """Holds every bad field."""

    code = "validation_failed"

    def __init__(self, errors: tuple[FieldError, ...], detail: str = "", *, internal: str = "") -> None:
        told = detail or "The request has fields that cannot be accepted; see errors."
        super().__init__(told, errors=errors, internal=internal)
        if errors and all(error.code == "unknown_field" for error in errors):
            self.code = "unknown_field"  # type: ignore[misc]  # more specific than the class's code


class BodyTooLarge(InvalidInput):
    code = "body_too_large"


class BatchTooLarge(InvalidInput):
    code = "batch_too_large"


class UnsupportedMediaType(InvalidInput):
    """Holds the accepted content codings if the request's is none of them."""

    code = "unsupported_media_type"
    accept_encoding = ""

    def __init__(self, detail: str, *, accept_encoding: str = "") -> None:
        super().__init__(detail)
        self.accept_encoding = accept_encoding


class Unauthenticated(SignalCloudError):
    """The caller does not prove its identity."""


class KeyMissing(Unauthenticated):
    code = "key_missing"


class KeyMalformed(Unauthenticated):
    code = "key_malformed"


class KeyUnknown(Unauthenticated):
    code = "key_unknown"


class KeyRevoked(Unauthenticated):
    code = "key_revoked"


class KeyExpired(Unauthenticated):
    code = "key_expired"


class AccessUrlUsed(Unauthenticated):
    """A client access URL connects once."""

    code = "access_url_used"


class SignatureInvalid(Unauthenticated):
    code = "signature_invalid"


class SignatureExpired(Unauthenticated):
    code = "signature_expired"


class Forbidden(SignalCloudError):
    """The caller is known and may not do this."""


class ScopeMissing(Forbidden):
    code = "scope_missing"


class SymbolNotLicensed(Forbidden):
    code = "symbol_not_licensed"


class StrategyNotLicensed(Forbidden):
    code = "strategy_not_licensed"


class AddressRefused(Forbidden):
    code = "address_refused"


class LicenseSuspended(Forbidden):
    code = "license_suspended"


class LicenseExpired(Forbidden):
    code = "license_expired"


class LicenseRevoked(Forbidden):
    code = "license_revoked"


class StorageQuotaExceeded(Forbidden):
    code = "storage_quota_exceeded"


class ClaimExpired(Forbidden):
    code = "claim_expired"


class SessionLost(Forbidden):
    code = "session_lost"


class KeysExceeded(Forbidden):
    """The license has as many valid keys as its plan allows."""

    code = "keys_exceeded"


class NotFound(SignalCloudError):
    code = "not_found"


class TradeNotFound(NotFound):
    code = "trade_not_found"


class NoConfidence(NotFound):
    """The strategy publishes signals, but has no feature schema, so there is no confidence for it."""

    code = "no_confidence"


class MethodNotAllowed(SignalCloudError):
    """Holds the methods that the address accepts."""

    code = "method_not_allowed"

    def __init__(self, detail: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allow = allow


class Conflict(SignalCloudError):
    code = "conflict"


class ExportTooLarge(Conflict):
    """An export of an account has more rows or bytes than one answer may have."""


class WithdrawalExpired(Conflict):
    code = "withdrawal_expired"


class SessionTaken(Conflict):
    code = "session_taken"


class ClaimUsed(Conflict):
    code = "claim_used"


class RateLimited(SignalCloudError):
    code = "rate_limited"


class DailyQuotaExceeded(SignalCloudError):
    code = "daily_quota_exceeded"


class TooManyQueries(SignalCloudError):
    code = "too_many_queries"


class ConnectionsExceeded(SignalCloudError):
    code = "connections_exceeded"


class TriesExceeded(SignalCloudError):
    """A public route was called too often from one address, for one mail address or by everybody."""

    code = "tries_exceeded"


class Unavailable(SignalCloudError):
    """A dependency cannot be reached; the same request may succeed later."""


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class DatabaseBusy(DatabaseUnavailable):
    """The server answers, but others have every connection of ours, or wait for one."""


class CacheUnavailable(Unavailable):
    code = "cache_unavailable"


class KeyStoreUnavailable(Unavailable):
    code = "key_store_unavailable"


class RealtimeUnavailable(Unavailable):
    code = "realtime_unavailable"


class InternalError(SignalCloudError):
    """A fault in our code; the caller can only try again."""

    code = "internal"


class ExportDamaged(InternalError):
    """An export of licenses cannot be opened or read; never reaches a caller of the app."""


class TrainingFailed(InternalError):
    """A training run failed, or took too long."""


class ConfigurationError(SignalCloudError):
    code = "configuration_invalid"
