"""Licenses and the API keys that they own."""

from datetime import datetime
from typing import Literal

import msgspec

Scope = Literal["bot", "publisher", "feeder", "ops"]
LicenseStatus = Literal["active", "suspended", "revoked"]
ALL_SCOPES: tuple[Scope, ...] = ("bot", "publisher", "feeder", "ops")

DEFAULT_REQUESTS_PER_MINUTE = 100


class License(msgspec.Struct, frozen=True, kw_only=True):
    """An account's entitlement; `requests_per_minute` holds for each of its keys apart."""

    license_id: str
    account_id: str
    plan: str = "standard"
    status: LicenseStatus = "active"
    expires_at: datetime | None = None
    symbols: tuple[str, ...]
    requests_per_minute: int = DEFAULT_REQUESTS_PER_MINUTE
    created_at: datetime


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a key: never the secret, only its keyed hash and its public id."""

    public_id: str
    key_hash: str
    license_id: str
    scopes: tuple[Scope, ...]
    status: Literal["active", "revoked"] = "active"
    created_at: datetime
    expires_at: datetime | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one presented key may do: the license and the key, as one record that caches well."""

    license: License
    key: ApiKey
