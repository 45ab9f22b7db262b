"""Declares the parameters and bodies with which operators choose, make and change licenses."""

from datetime import datetime, timedelta
from typing import Annotated, get_args

import msgspec

from shared.domain.access.bulk import MAX_EXTENSION_DAYS
from shared.domain.access.keys import PUBLIC_ID_LENGTH
from shared.domain.access.license_filter import (
    MAX_EXPIRING_DAYS,
    MAX_TEXT,
    ORDERS,
    LicenseFilter,
    LicenseOrder,
)
from shared.domain.access.license_patch import SentOverrides
from shared.domain.access.licenses import LICENSE_ID_PATTERN, LicenseStatus, Scope
from shared.domain.access.plans import STANDARD
from shared.domain.problems import Problems
from shared.services.license_admin import MAX_PAGE
from shared.services.license_keys import MAX_OVERLAP

_STATUSES = get_args(LicenseStatus)
_DAY_S = 86_400
_FORMATS = ("json", "csv")


def _text(about: str, most: int = 64) -> msgspec.Meta:
    return msgspec.Meta(description=about, max_length=most)


def _one_of(about: str, values: tuple[str, ...], before: str = "") -> msgspec.Meta:
    expected = f"Expected one of {', '.join(values)}{', also after a minus sign' if before else ''}."
    pattern = f"^{before}({'|'.join(values)})\\Z"
    return msgspec.Meta(description=about, pattern=pattern, extra={"expected": expected})


class LicenseParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Selects, orders and pages licenses."""

    plan: Annotated[str, _text("The name of a plan.")] | None = None
    status: Annotated[str, _one_of("What the license is now.", _STATUSES)] | None = None
    account_id: Annotated[str, _text("One account.")] | None = None
    symbol: Annotated[str, _text("Licenses that cover this symbol.", 12)] | None = None
    reference: Annotated[str, _text("The external reference.", 255)] | None = None
    expiring_within_days: (
        Annotated[
            int, msgspec.Meta(description="Active licenses that expire so soon.", ge=1, le=MAX_EXPIRING_DAYS)
        ]
        | None
    ) = None
    text: Annotated[str, _text("Looked for in account, reference, mail and notes.", MAX_TEXT)] | None = None
    order: Annotated[
        str, _one_of("What they are ordered by; backwards after a minus sign.", ORDERS, before="-?")
    ] = "-created"
    cursor: Annotated[str, _text("next_cursor of the previous page.", 512)] | None = None
    limit: Annotated[int, msgspec.Meta(description="At most this many.", ge=1, le=MAX_PAGE)] = 100
    format: Annotated[
        str, _one_of("csv for one table of all that fit, as with `Accept: text/csv`.", _FORMATS)
    ] = "json"
    accept: (
        Annotated[
            str, msgspec.Meta(description="text/csv for a table.", max_length=256, extra={"in": "header"})
        ]
        | None
    ) = None

    @property
    def filter(self) -> LicenseFilter:
        given = {name: getattr(self, name) or None for name in LicenseFilter.__struct_fields__}
        chosen: LicenseFilter = msgspec.convert(given, LicenseFilter)
        return chosen

    @property
    def by(self) -> LicenseOrder:
        by: LicenseOrder = msgspec.convert(self.order.removeprefix("-"), LicenseOrder)
        return by

    @property
    def is_descending(self) -> bool:
        return self.order.startswith("-")

    @property
    def is_table(self) -> bool:
        return self.format == "csv" or (self.accept or "").split(";", 1)[0].strip().lower() == "text/csv"


LicenseId = Annotated[
    str,
    msgspec.Meta(
        description="The id of a license.",
        pattern=LICENSE_ID_PATTERN,
        examples=["lic_0123456789Ab"],
        extra={"in": "path", "expected": "Expected an id such as lic_0123456789Ab."},
    ),
]


class NamedLicense(msgspec.Struct, frozen=True):
    """Names one license."""

    license_id: LicenseId


PublicId = Annotated[
    str,
    msgspec.Meta(
        description="The public id of a key: the six characters after its prefix.",
        pattern=f"^[0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}}\\Z",
        examples=["Ab12Cd"],
        extra={"in": "path", "expected": f"Expected the {PUBLIC_ID_LENGTH} characters after the prefix."},
    ),
]


class NamedKey(msgspec.Struct, frozen=True):
    """Names one key, never by the key itself."""

    public_id: PublicId


_Days = Annotated[int, msgspec.Meta(ge=1, le=MAX_EXTENSION_DAYS)]


class NewLicense(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A license to make. It ends at `expires_at`, or after `days`; without either, it never ends.

    A request with the same `reference` again makes no second license. `same_account` says that the account
    may have a license already, and `new_symbols` that symbols may be new, which nothing serves yet.
    """

    account_id: str
    plan: str = STANDARD
    overrides: SentOverrides | None = None
    expires_at: datetime | None = None
    days: _Days | None = None
    reference: str | None = None
    email: str | None = None
    discord_user_id: str | None = None
    notes: str = ""
    same_account: bool = False
    new_symbols: bool = False

    def end(self, now: datetime) -> datetime | None:
        """Raises ValidationFailed if both a time and days are given."""
        return _end(self.expires_at, self.days, now)


class Extension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a license is extended: by `days`, or to the time `until`."""

    days: _Days | None = None
    until: datetime | None = None

    @property
    def span(self) -> timedelta | datetime:
        """Raises ValidationFailed unless exactly one of both is given."""
        problems = Problems()
        if (self.days is None) == (self.until is None):
            problems.add("days", "missing", "Send either days or until.")
        if self.until is not None and self.until.tzinfo is None:
            problems.add("until", "invalid_format", "Expected a time with its offset.")
        problems.refuse()
        if self.days is not None:
            return timedelta(days=self.days)
        assert self.until is not None
        return self.until


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make, for bots unless told otherwise. It ends at `expires_at` or after `days`."""

    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=8)] | None = None
    expires_at: datetime | None = None
    days: _Days | None = None

    def end(self, now: datetime) -> datetime | None:
        """Raises ValidationFailed if both a time and days are given."""
        return _end(self.expires_at, self.days, now)


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many seconds the replaced key works beside the new one; 0 ends it at once."""

    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=int(MAX_OVERLAP.total_seconds()))] = _DAY_S


def _end(expires_at: datetime | None, days: int | None, now: datetime) -> datetime | None:
    if expires_at is not None and days is not None:
        problems = Problems()
        problems.add("days", "invalid_format", "Send either expires_at or days.")
        raise problems.refusal()
    return expires_at if days is None else now + timedelta(days=days)
