"""Describes a license to the holder of one of its keys."""

from datetime import datetime

import msgspec

from shared.domain.access.licenses import Grant, Scope
from shared.domain.access.plans import Plan
from shared.domain.access.quotas import Usage
from shared.domain.access.rate_limit import RateState


class OwnLicense(msgspec.Struct, frozen=True, kw_only=True):
    """A key's license, as its holder sees it.

    `terms` are the values that hold for the license; those named in `overridden` are its own, the others its
    plan's. `grace_until` is set after a failed payment: without a payment, the license stops then.
    `requests_remaining` is null while no limit counts requests. `usage` is what counts against the trades of
    the account; it is null while the database is unavailable, or busy with other requests of the account.
    """

    license_id: str
    account_id: str
    plan: str
    status: str
    expires_at: datetime | None
    grace_until: datetime | None
    symbols: tuple[str, ...]
    requests_per_minute: int
    requests_remaining: int | None
    key: str
    key_scopes: tuple[Scope, ...]
    key_expires_at: datetime | None
    terms: Plan
    overridden: tuple[str, ...]
    usage: Usage | None


def own_license(grant: Grant, rate: RateState | None, usage: Usage | None) -> OwnLicense:
    license_, key, terms = grant.license, grant.key, grant.terms
    return OwnLicense(
        license_id=license_.license_id,
        account_id=license_.account_id,
        plan=license_.plan,
        status=license_.status,
        expires_at=license_.expires_at,
        grace_until=license_.grace_until,
        symbols=terms.symbols,
        requests_per_minute=terms.requests_per_minute,
        requests_remaining=rate.remaining if rate is not None else None,
        key=key.public_id,
        key_scopes=key.scopes,
        key_expires_at=key.expires_at,
        terms=terms,
        overridden=tuple(license_.overrides.given()),
        usage=usage,
    )
