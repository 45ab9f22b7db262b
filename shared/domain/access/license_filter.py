"""Selects licenses: the same rule as the query of the list, for one license as Table Storage has it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal, get_args

import msgspec

from shared.domain.access.licenses import License, LicenseStatus, license_refusal
from shared.domain.access.plans import Plan

MAX_EXPIRING_DAYS = 3_650
MAX_TEXT = 200

LicenseOrder = Literal["created", "expires", "account", "plan", "id"]
ORDERS: tuple[LicenseOrder, ...] = get_args(LicenseOrder)


class LicenseFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Licenses that fit every given value; without any, all licenses.

    `status` is what the license is now: one whose time is over is expired, even if it is stored as active.
    `text` is looked for in account, reference, mail and notes; upper and lower case are the same.
    """

    plan: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    status: LicenseStatus | None = None
    account_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    symbol: Annotated[str, msgspec.Meta(max_length=12)] | None = None
    reference: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    expiring_within_days: Annotated[int, msgspec.Meta(ge=1, le=MAX_EXPIRING_DAYS)] | None = None
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it selects every license; a text of nothing but blanks is in nearly all of them."""
        return all(value is None or not str(value).strip() for value in msgspec.structs.astuple(self))

    def expires_by(self, now: datetime) -> datetime | None:
        days = self.expiring_within_days
        return None if days is None else now + timedelta(days=days)

    def fits(self, license_: License, terms_of: Callable[[License], Plan], now: datetime) -> bool:
        """Whether `license_` is selected; `terms_of` knows the values of its plan with its overrides."""
        by = self.expires_by(now)
        return (
            self.plan in (None, license_.plan)
            and self.account_id in (None, license_.account_id)
            and self.reference in (None, license_.reference)
            and self.status in (None, standing(license_, now))
            and (self.symbol is None or self.symbol in terms_of(license_).symbols)
            and (self.text is None or self.text.lower() in searched_text(license_))
            and (by is None or _expires_by(license_, by, now))
        )


def standing(license_: License, now: datetime) -> LicenseStatus:
    """What `license_` is at `now`; its stored status changes only after a timer has seen its end."""
    refused = license_refusal(license_, now)
    if refused is None:
        return "active"
    status: LicenseStatus = msgspec.convert(refused.code.removeprefix("license_"), LicenseStatus)
    return status


def searched_text(license_: License) -> str:
    """What a filter's text is looked for in, in lower case."""
    parts = (license_.account_id, license_.reference, license_.email, license_.notes)
    return "\n".join(part for part in parts if part).lower()


def _expires_by(license_: License, by: datetime, now: datetime) -> bool:
    is_active = standing(license_, now) == "active"
    return is_active and license_.expires_at is not None and license_.expires_at <= by
