"""Licenses and the API keys that they own, and what they allow at a given time."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from shared.domain.access.keys import SHARD_LENGTH, RandomBytes, random_base62
from shared.errors import (
    Conflict,
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
_LICENSE_ID = re.compile(r"lic_[0-9A-Za-z]{12}")


class License(msgspec.Struct, frozen=True, kw_only=True):
    """An account's entitlement; `requests_per_minute` holds for each of its keys apart.

    `revision` counts the changes. An expiry takes effect at `expires_at`; the status `expired` says
    that the account's connections have been closed too.
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
    """What is stored of a key: never the secret, only its keyed hash and its public id.

    A key that was hashed anew under another pepper, at `hashed_at`, keeps its `previous_hash`: by that, a
    process which still has the former pepper knows it.
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
        """All that caches may know this key by."""
        return (self.key_hash,) if self.previous_hash is None else (self.key_hash, self.previous_hash)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one presented key may do: the license and the key, as one record that caches well."""

    license: License
    key: ApiKey

    @property
    def revision(self) -> int:
        """Grows with every change of either part, so that a cache can tell the newer of two grants."""
        return self.license.revision + self.key.revision


def new_license_id(rng: RandomBytes) -> str:
    return LICENSE_PREFIX + random_base62(12, rng)


def is_license_id(text: str) -> bool:
    return _LICENSE_ID.fullmatch(text) is not None


def shard_of_license_id(license_id: str) -> str:
    """The partition that a license and its keys lie in; see shared/domain/access/keys.py."""
    return license_id.removeprefix(LICENSE_PREFIX)[:SHARD_LENGTH]


def refusal(grant: Grant, now: datetime) -> SignalCloudError | None:
    """Why `grant` allows nothing at `now`, or None. First the key is judged, then its license."""
    key, license_ = grant.key, grant.license
    if key.status == "revoked":
        return KeyRevoked("This API key was revoked.")
    if key.expires_at is not None and key.expires_at <= now:
        return KeyExpired("This API key has expired.")
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
        f"This needs a key with the scope {scope}; this key has {', '.join(grant.key.scopes) or 'none'}."
    )


def require_symbols(grant: Grant, fields: Mapping[str, str]) -> None:
    """Raises SymbolNotLicensed for the symbols that the license does not cover.

    `fields` holds, for each symbol asked for, the name of the field that named it.
    """
    licensed = grant.license.symbols
    refused = {symbol: field for symbol, field in fields.items() if symbol not in licensed}
    if refused:
        raise SymbolNotLicensed(
            f"The license does not cover {', '.join(refused)}; it covers {', '.join(licensed)}.",
            errors=tuple(
                FieldError(field, "symbol_not_licensed", f"{symbol} is not in the license.")
                for symbol, field in refused.items()
            ),
        )


def valid_until(grant: Grant) -> datetime | None:
    """When `grant` ends by itself; None when it does not."""
    ends = [end for end in (grant.key.expires_at, grant.license.expires_at) if end is not None]
    return min(ends, default=None)


def good_until(grant: Grant) -> datetime:
    """Until when `refusal` is None: the earliest time if it is not now, the latest if it is for good."""
    if refusal(grant, NEVER) is not None:
        return NEVER
    return valid_until(grant) or FOREVER


def suspended(license_: License) -> License:
    """`license_` suspended, unchanged if it was; raises Conflict when it has ended."""
    if license_.status == "suspended":
        return license_
    _must_live(license_, "suspended")
    return _changed(license_, "suspended")


def resumed(license_: License) -> License:
    """`license_` active, unchanged if it was; raises Conflict when it has ended."""
    if license_.status == "active":
        return license_
    _must_live(license_, "resumed")
    return _changed(license_, "active")


def revoked(license_: License) -> License:
    """`license_` revoked for good; unchanged if it was."""
    return license_ if license_.status == "revoked" else _changed(license_, "revoked")


def expired(license_: License, now: datetime) -> License:
    """`license_` marked as expired where its time is over and it was active; else unchanged."""
    if license_.status == "active" and license_.expires_at is not None and license_.expires_at <= now:
        return _changed(license_, "expired")
    return license_


def revoked_key(key: ApiKey) -> ApiKey:
    """`key` revoked for good; unchanged if it was."""
    if key.status == "revoked":
        return key
    return msgspec.structs.replace(key, status="revoked", revision=key.revision + 1)


def ending_key(key: ApiKey, end: datetime) -> ApiKey:
    """`key` with its life cut to `end`, never made longer; raises Conflict when it is revoked."""
    if key.status == "revoked":
        raise Conflict(f"The key {key.public_id} is revoked; create a new one.")
    if key.expires_at is not None and key.expires_at <= end:
        return key
    return msgspec.structs.replace(key, expires_at=end, revision=key.revision + 1)


def rehashed_key(key: ApiKey, old_hash: str, new_hash: str, now: datetime) -> ApiKey:
    """`key` under a new hash; unchanged unless `old_hash` is still its hash."""
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
