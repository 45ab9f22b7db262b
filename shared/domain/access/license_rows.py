"""Describes licenses to operators: each with its terms, and which of them are overridden."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from shared.domain.access.license_filter import standing
from shared.domain.access.licenses import ApiKey, KeyStatus, License, LicenseStatus, Scope, SuspendedBy
from shared.domain.access.plans import Plan


class LicenseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A license as operators see it. `status` is what it is now.

    `terms` are the values that count: the plan's, but for those whose names are in `overridden`.
    """

    license_id: str
    account_id: str
    plan: str
    status: LicenseStatus
    suspended_by: SuspendedBy | None
    expires_at: datetime | None
    grace_until: datetime | None
    reference: str | None
    payment: str | None
    email: str | None
    discord_user_id: str | None
    notes: str
    created_at: datetime
    revision: int
    overridden: tuple[str, ...]
    terms: Plan


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key as operators see it, without any hash."""

    public_id: str
    status: KeyStatus
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    successor: str | None


def license_row(license_: License, terms_of: Callable[[License], Plan], now: datetime) -> LicenseRow:
    return LicenseRow(
        license_id=license_.license_id,
        account_id=license_.account_id,
        plan=license_.plan,
        status=standing(license_, now),
        suspended_by=license_.suspended_by,
        expires_at=license_.expires_at,
        grace_until=license_.grace_until,
        reference=license_.reference,
        payment=license_.payment,
        email=license_.email,
        discord_user_id=license_.discord_user_id,
        notes=license_.notes,
        created_at=license_.created_at,
        revision=license_.revision,
        overridden=tuple(license_.overrides.given()),
        terms=terms_of(license_),
    )


def key_row(key: ApiKey) -> KeyRow:
    return KeyRow(
        public_id=key.public_id,
        status=key.status,
        scopes=key.scopes,
        created_at=key.created_at,
        expires_at=key.expires_at,
        successor=key.successor,
    )


# The columns of a table of licenses; the values of the plan follow under their own names.
_OWN = tuple(name for name in LicenseRow.__struct_fields__ if name not in ("terms", "plan"))
_TERMS = tuple(name for name in Plan.__struct_fields__ if name != "name")
COLUMNS = ("license_id", "plan", *(name for name in _OWN if name != "license_id"), *_TERMS)


def flat(row: LicenseRow) -> dict[str, object]:
    """`row` as one line of a table."""
    return {name: getattr(row, name) for name in ("plan", *_OWN)} | {
        name: getattr(row.terms, name) for name in _TERMS
    }
