"""Grants for tests of services."""

from datetime import UTC, datetime

from shared.domain.access.licenses import ApiKey, Grant, License, Scope
from shared.domain.access.plans import Overrides
from tests.support.license_plans import PLANS

CREATED = datetime(2025, 9, 1, tzinfo=UTC)


def grant_of(account_id: str, *symbols: str, scopes: tuple[Scope, ...] = ("bot",)) -> Grant:
    """A grant of the key `Ab12Cd`, for `symbols`."""
    license_ = License(
        license_id="lic_Ab0000000000",
        account_id=account_id,
        overrides=Overrides(symbols=tuple(symbols)),
        created_at=CREATED,
    )
    key = ApiKey(
        public_id="Ab12Cd", key_hash="h", license_id=license_.license_id, scopes=scopes, created_at=CREATED
    )
    return PLANS.grant(license_, key)
