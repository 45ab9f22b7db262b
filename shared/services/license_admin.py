"""Lists licenses for operators, and changes many of them at once."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from shared.domain.access.bulk import (
    REASONS,
    BulkRequest,
    Change,
    Value,
    change_of,
    check_bulk,
    differences,
)
from shared.domain.access.license_filter import LicenseFilter, LicenseOrder
from shared.domain.access.license_rows import COLUMNS, LicenseRow, flat, license_row
from shared.domain.access.licenses import License
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.csv_text import csv_text
from shared.domain.cursors import cursor_of, place_in
from shared.domain.problems import Problems
from shared.errors import Conflict, FieldError, NotFound, ValidationFailed
from shared.services.concurrency import run_for_each
from shared.services.license_keys import Effect

MAX_PAGE = 1_000
# A table of so many licenses has about 8 MB.
MAX_TABLE = 20_000
AT_ONCE = 8
# Licenses that are judged before other requests of the process have a turn: about 10 ms.
YIELD_EACH = 200

BulkOutcome = Literal["changed", "unchanged", "refused"]


class Place(Protocol):
    """Where a page ends: the value by which it is ordered, and the license."""

    @property
    def place(self) -> str: ...
    @property
    def license_id(self) -> str: ...


class ListedPage(Protocol):
    @property
    def licenses(self) -> list[License]: ...
    @property
    def matching(self) -> int: ...
    @property
    def end(self) -> Place | None: ...


class ListedLicenses(Protocol):
    async def page(
        self,
        chosen: LicenseFilter,
        *,
        plans_with_symbol: Sequence[str],
        order: LicenseOrder,
        descending: bool,
        after: tuple[str, str] | None,
        limit: int,
        now: datetime,
    ) -> ListedPage: ...


class LicenseChanger(Protocol):
    async def change(self, license_id: str, change: Change, reason: str) -> Effect: ...


class LicensePage(msgspec.Struct, frozen=True):
    """Licenses that fit; `matching` says how many fit in all. `next_cursor` is null on the last page."""

    licenses: list[LicenseRow]
    matching: int
    next_cursor: str | None


class BulkItem(msgspec.Struct, frozen=True):
    """One license of a bulk action: what changes, as [before, after] by field, or why nothing does."""

    license_id: str
    account_id: str
    outcome: BulkOutcome
    detail: str
    changes: dict[str, list[Value]]


class BulkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a bulk action did to one page of licenses, or would do if it were no dry run.

    `matching` says how many licenses fit the filter from this page on. If `next_cursor` is not null, others
    follow: send the same request again with it.
    """

    dry_run: bool
    matching: int
    changed: int
    unchanged: int
    refused: int
    licenses: list[BulkItem]
    next_cursor: str | None


class LicenseAdmin:
    """Reads the list in Postgres, which is at most a minute behind; changes only what the truth allows.

    Each method raises ValidationFailed and Unavailable.
    """

    def __init__(self, listed: ListedLicenses, plans: PlanCatalog, now: Callable[[], datetime]) -> None:
        self._listed = listed
        self._plans = plans
        self.now = now

    def row(self, license_: License) -> LicenseRow:
        return license_row(license_, self._plans.terms_of, self.now())

    async def page(
        self, chosen: LicenseFilter, order: LicenseOrder, *, descending: bool, cursor: str | None, limit: int
    ) -> LicensePage:
        """At most `limit` licenses that fit, and the cursor of the next page."""
        found = await self._find(chosen, order, descending, cursor, limit)
        rows = [self.row(each) for each in found.licenses]
        return LicensePage(rows, found.matching, _cursor(found.end))

    async def table(self, chosen: LicenseFilter, order: LicenseOrder, *, descending: bool) -> str:
        """All licenses that fit as CSV; raises ValidationFailed if there are more than MAX_TABLE."""
        found = await self._find(chosen, order, descending, None, MAX_TABLE)
        if found.end is not None:
            message = f"{found.matching} licenses fit; a table has {MAX_TABLE} at most: narrow the filter."
            raise ValidationFailed((FieldError("format", "out_of_range", message),))
        return csv_text(COLUMNS, (flat(self.row(each)) for each in found.licenses))

    async def bulk(self, asked: BulkRequest, changer: LicenseChanger) -> BulkReport:
        """One page of a bulk action, or of its dry run.

        The filter is judged again on each true record when that is changed. A license that cannot be changed
        does not keep others from it.
        """
        now = self.now()
        problems = Problems()
        check_bulk(asked, problems)
        if asked.plan is not None and asked.plan not in self._plans:
            problems.add("plan", "unknown_value", f"Expected one of {', '.join(self._plans)}.")
        problems.refuse()
        found = await self._find(asked.filter, "id", False, asked.cursor, asked.most)
        change = change_of(asked, now)
        if asked.dry_run:
            items = []
            for each in found.licenses:
                items.append(_judged(each, change))
                if len(items) % YIELD_EACH == 0:
                    await asyncio.sleep(0)  # lets other requests go on
        else:

            async def apply(license_: License) -> BulkItem:
                return await self._applied(license_, change, asked, changer, now)

            items = await run_for_each(apply, found.licenses, at_once=AT_ONCE)
        return BulkReport(
            dry_run=asked.dry_run,
            matching=found.matching,
            changed=sum(item.outcome == "changed" for item in items),
            unchanged=sum(item.outcome == "unchanged" for item in items),
            refused=sum(item.outcome == "refused" for item in items),
            licenses=items,
            next_cursor=_cursor(found.end),
        )

    async def _applied(
        self, listed: License, change: Change, asked: BulkRequest, changer: LicenseChanger, now: datetime
    ) -> BulkItem:
        before = listed

        def judged_again(license_: License) -> License:
            nonlocal before
            before = license_
            if not asked.filter.fits(license_, self._plans.terms_of, now):
                raise Conflict("It no longer fits the filter.")
            return change(license_)

        try:
            effect = await changer.change(listed.license_id, judged_again, REASONS[asked.action])
        except (Conflict, NotFound, ValidationFailed) as error:
            return _item(before, "refused", error.detail)
        return _compared(before, effect.license, _left_over(effect))

    async def _find(
        self, chosen: LicenseFilter, order: LicenseOrder, descending: bool, cursor: str | None, limit: int
    ) -> ListedPage:
        symbol = chosen.symbol
        plans = (
            [] if symbol is None else [name for name in self._plans if symbol in self._plans[name].symbols]
        )
        return await self._listed.page(
            chosen,
            plans_with_symbol=plans,
            order=order,
            descending=descending,
            after=place_in(cursor, tuple[str, str]) if cursor else None,
            limit=limit,
            now=self.now(),
        )


def _judged(license_: License, change: Change) -> BulkItem:
    try:
        return _compared(license_, change(license_), "")
    except Conflict as error:
        return _item(license_, "refused", error.detail)


def _compared(before: License, after: License, detail: str) -> BulkItem:
    if after == before:
        return _item(before, "unchanged", detail or "It is so already.")
    return BulkItem(before.license_id, before.account_id, "changed", detail, differences(before, after))


def _item(license_: License, outcome: BulkOutcome, detail: str) -> BulkItem:
    return BulkItem(license_.license_id, license_.account_id, outcome, detail, {})


def _left_over(effect: Effect) -> str:
    """Which follow-up steps failed, so that they take effect later."""
    steps = {
        "caches are told": effect.caches_told,
        "connections are closed": effect.connections_closed,
        "the change is audited": effect.audited,
    }
    left = [step for step, is_done in steps.items() if not is_done]
    return f"Stored, but not yet: {', '.join(left)}." if left else ""


def _cursor(end: Place | None) -> str | None:
    return None if end is None else cursor_of((end.place, end.license_id))
