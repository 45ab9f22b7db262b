"""Describes licenses and the API keys that they own, and decides what they allow at a given time."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from shared.domain.access.keys import SHARD_LENGTH, RandomBytes, random_base62
from shared.domain.market.symbols import root_hint
from shared.domain.problems import Problems
from shared.errors import (
    Conflict,
    FieldCode,
    FieldError,
    Forbidden,
    KeyExpired,
    KeyRevoked,
    LicenseExpired,
    LicenseRevoked,
    LicenseSuspended,
    ScopeMissing,
    SignalCloudError,
    SymbolNotLicensed,
    ValidationFailed,
)

Scope = Literal["bot", "publisher", "feeder", "ops"]
LicenseStatus = Literal["active", "suspended", "revoked", "expired"]
KeyStatus = Literal["active", "revoked"]
ALL_SCOPES: tuple[Scope, ...] = ("bot", "publisher", "feeder", "ops")

DEFAULT_REQUESTS_PER_MINUTE = 100
MAX_REQUESTS_PER_MINUTE = 100_000
MAX_SYMBOLS = 100

LICENSE_PREFIX = "lic_"
NEVER = datetime.min.replace(tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)
LICENSE_ID_PATTERN = r"^lic_[0-9A-Za-z]{12}\Z"
_LICENSE_ID = re.compile(LICENSE_ID_PATTERN)


class License(msgspec.Struct, frozen=True, kw_only=True):
    """An account's entitlement; `requests_per_minute` applies to each of its keys separately.

    `revision` counts the changes. A license expires at `expires_at`; its status becomes `expired` after a
    timer has closed its connections.
    """

    license_id: str
    account_id: str
    plan: str = "standard"
    status: LicenseStatus = "active"
    expires_at: datetime | None = None
    symbols: tuple[str, ...]
    requests_per_minute: int = DEFAULT_REQUESTS_PER_MINUTE
    created_at: datetime
    revision: int = 1


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """The stored record of a key: never the secret, only its keyed hash and its public id.

    When a key is hashed again under another pepper, `hashed_at` is the time, and `previous_hash` lets
    processes that still have the former pepper recognise it.
    """

    public_id: str
    key_hash: str
    license_id: str
    scopes: tuple[Scope, ...]
    status: KeyStatus = "active"
    created_at: datetime
    expires_at: datetime | None = None
    revision: int = 1
    previous_hash: str | None = None
    hashed_at: datetime | None = None

    @property
    def hashes(self) -> tuple[str, ...]:
        """Every hash under which a cache may hold this key."""
        return (self.key_hash,) if self.previous_hash is None else (self.key_hash, self.previous_hash)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A presented key and its license, which together decide what it may do; cached as one record."""

    license: License
    key: ApiKey

    @property
    def revision(self) -> int:
        """Grows with every change of either part, so that a cache can keep the newer of two grants."""
        return self.license.revision + self.key.revision


def newest(one: Grant, other: Grant) -> Grant:
    """The later revision of each part, because a slow cache may hold an earlier one than the caller knows."""
    license_ = max(one.license, other.license, key=lambda part: part.revision)
    return Grant(license=license_, key=max(one.key, other.key, key=lambda part: part.revision))


def new_license_id(rng: RandomBytes) -> str:
    return LICENSE_PREFIX + random_base62(12, rng)


def is_license_id(text: str) -> bool:
    return _LICENSE_ID.match(text) is not None


def shard_of_license_id(license_id: str) -> str:
    """The partition of a license and its keys; see shared/domain/access/keys.py."""
    return license_id.removeprefix(LICENSE_PREFIX)[:SHARD_LENGTH]


def refusal(grant: Grant, now: datetime) -> SignalCloudError | None:
    """The reason why `grant` allows nothing at `now`, or None. Checks first the key, then its license."""
    return key_refusal(grant.key, now) or license_refusal(grant.license, now)


def key_refusal(key: ApiKey, now: datetime) -> SignalCloudError | None:
    """The reason why `key` allows nothing at `now`, whatever its license is; or None."""
    if key.status == "revoked":
        return KeyRevoked("This API key was revoked.")
    if key.expires_at is not None and key.expires_at <= now:
        return KeyExpired("This API key has expired.")
    return None


def license_refusal(license_: License, now: datetime) -> SignalCloudError | None:
    """The reason why `license_` allows nothing at `now`, or None."""
    if license_.status == "revoked":
        return LicenseRevoked("The license of this API key was revoked.")
    if license_.status == "suspended":
        return LicenseSuspended("The license of this API key is suspended.")
    if license_.status == "expired" or (license_.expires_at is not None and license_.expires_at <= now):
        return LicenseExpired("The license of this API key has expired.")
    return None


def scope_refusal(grant: Grant, scope: Scope) -> Forbidden | None:
    if scope in grant.key.scopes:
        return None
    return ScopeMissing(
        f"This needs a key with the scope {scope}; the scopes of this key: "
        f"{', '.join(grant.key.scopes) or 'none'}."
    )


def require_symbols(grant: Grant, fields: Mapping[str, str]) -> None:
    """Raises SymbolNotLicensed for the symbols that the license does not cover.

    `fields` maps each requested symbol to the name of its field in the request. If all of them are contracts
    or series of roots, the license is not to blame: raises ValidationFailed, which says what to send.
    """
    licensed = grant.license.symbols
    refused = {symbol: field for symbol, field in fields.items() if symbol not in licensed}
    if not refused:
        return
    errors = tuple(FieldError(field, *_symbol_fault(symbol)) for symbol, field in refused.items())
    if all(error.code == "unknown_value" for error in errors):
        raise ValidationFailed(errors)
    raise SymbolNotLicensed(
        f"The license does not cover {', '.join(refused)}; it covers {', '.join(licensed)}.", errors=errors
    )


def refuse_misnamed(grant: Grant, symbol: str, field: str) -> None:
    """Raises ValidationFailed if `symbol` is a contract or a series of a root, and is not licensed itself."""
    hint = root_hint(symbol)
    if hint is not None and symbol not in grant.license.symbols:
        raise ValidationFailed((FieldError(field, "unknown_value", hint),))


def check_symbol(grant: Grant, symbol: str, problems: Problems) -> None:
    """Adds the field `symbol` of one item if the license does not cover it."""
    if symbol not in grant.license.symbols:
        problems.add("symbol", *_symbol_fault(symbol))


def _symbol_fault(symbol: str) -> tuple[FieldCode, str]:
    """Why a symbol that the license does not cover is refused; a misnamed root is no matter of licenses."""
    hint = root_hint(symbol)
    if hint is not None:
        return "unknown_value", hint
    return "symbol_not_licensed", f"{symbol} is not in the license. GET license lists its symbols."


def valid_until(grant: Grant) -> datetime | None:
    """When `grant` expires; None if it never does."""
    ends = [end for end in (grant.key.expires_at, grant.license.expires_at) if end is not None]
    return min(ends, default=None)


def good_until(grant: Grant) -> datetime:
    """The time until which `refusal` is None: NEVER if `grant` is refused now, FOREVER if it has no end."""
    if refusal(grant, NEVER) is not None:
        return NEVER
    return valid_until(grant) or FOREVER


def suspended(license_: License) -> License:
    """`license_` suspended, unchanged if it was before; raises Conflict if it is revoked or expired."""
    if license_.status == "suspended":
        return license_
    _must_live(license_, "suspended")
    return _changed(license_, "suspended")


def resumed(license_: License) -> License:
    """`license_` active, unchanged if it was before; raises Conflict if it is revoked or expired."""
    if license_.status == "active":
        return license_
    _must_live(license_, "resumed")
    return _changed(license_, "active")


def revoked(license_: License) -> License:
    """`license_` revoked, which is final; unchanged if it was before."""
    return license_ if license_.status == "revoked" else _changed(license_, "revoked")


def expired(license_: License, now: datetime) -> License:
    """`license_` with the status expired if it was active and its time is over; else unchanged."""
    if license_.status == "active" and license_.expires_at is not None and license_.expires_at <= now:
        return _changed(license_, "expired")
    return license_


def revoked_key(key: ApiKey) -> ApiKey:
    """`key` revoked, which is final; unchanged if it was before."""
    if key.status == "revoked":
        return key
    return msgspec.structs.replace(key, status="revoked", revision=key.revision + 1)


def ending_key(key: ApiKey, end: datetime) -> ApiKey:
    """`key` that expires at `end`, or earlier if it did before; raises Conflict if it is revoked."""
    if key.status == "revoked":
        raise Conflict(f"The key {key.public_id} is revoked; create a new one.")
    if key.expires_at is not None and key.expires_at <= end:
        return key
    return msgspec.structs.replace(key, expires_at=end, revision=key.revision + 1)


def rehashed_key(key: ApiKey, old_hash: str, new_hash: str, now: datetime) -> ApiKey:
    """`key` with a new hash; unchanged if its hash is no longer `old_hash`."""
    if key.key_hash != old_hash:
        return key
    return msgspec.structs.replace(
        key, key_hash=new_hash, previous_hash=old_hash, hashed_at=now, revision=key.revision + 1
    )


def is_hashed_since(key: ApiKey, moment: datetime) -> bool:
    return (key.hashed_at or key.created_at) >= moment


def _changed(license_: License, status: LicenseStatus) -> License:
    return msgspec.structs.replace(license_, status=status, revision=license_.revision + 1)


def _must_live(license_: License, verb: str) -> None:
    if license_.status in ("revoked", "expired"):
        raise Conflict(f"The license {license_.license_id} is {license_.status} and cannot be {verb}.")
