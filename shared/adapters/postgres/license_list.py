"""Lists every license as Table Storage has it, so that licenses can be filtered, ordered and paged.

Table Storage stays the source of truth. The process that changes a license puts it here, too, and a timer
puts what is newer there. The events of a change are stored in the transaction that lists it, so each is told
once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from shared.adapters.postgres.database import Connection, Database
from shared.adapters.postgres.notification_events import add_in
from shared.domain.access.license_filter import LicenseFilter, LicenseOrder, searched_text
from shared.domain.access.licenses import License
from shared.domain.access.test_licenses import is_test
from shared.domain.notifications.events import Event
from shared.sql import queries

MAX_PUT = 500
MAX_WARNED = 500
_SQL = queries("license_list")

# Decides the events of a step, from what was listed to what is listed now.
EventsOf = Callable[[License | None, License], Sequence[Event]]
# Decides the warning of a license that expires within so many days.
WarningOf = Callable[[License, int], Event]


class Place(NamedTuple):
    """Where a page ends: the value by which it is ordered, and the license."""

    place: str
    license_id: str


class ListedPage(NamedTuple):
    """The licenses of one page, how many fit the filter in all, and where the page ends if others follow."""

    licenses: list[License]
    matching: int
    end: Place | None


class LicenseList:
    """Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, licenses: Sequence[License], events_of: EventsOf) -> int:
        """Lists licenses that are newer than what is listed, and stores the events of these steps.

        Returns how many were newer. A step and its events are stored together, so each is told once.
        """
        stored = 0
        for start in range(0, len(licenses), MAX_PUT):
            async with self._database.transaction() as connection:
                steps = await _put(connection, licenses[start : start + MAX_PUT], is_set_back=False)
                await add_in(connection, [event for step in steps for event in events_of(*step)])
            stored += len(steps)
        return stored

    async def set_back(self, license_: License) -> None:
        """Lists a license as it is, although a later revision is listed: the source of truth was restored."""
        async with self._database.transaction() as connection:
            await _put(connection, [license_], is_set_back=True)

    async def revisions(self, license_ids: Sequence[str]) -> dict[str, int]:
        """The listed revision of each of these licenses that is listed."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_SQL["revisions"], {"license_ids": list(license_ids)})
            return dict(await cursor.fetchall())

    async def of_discord_user(self, discord_user_id: str, limit: int) -> list[License]:
        """At most `limit` licenses, of whatever status, whose holder is this user at Discord."""
        given = {"discord_user_id": discord_user_id, "limit": limit}
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_SQL["of_discord_user"], given)
            return [_license(document) for (document,) in await cursor.fetchall()]

    async def warn(self, now: datetime, warning_of: WarningOf) -> int:
        """Stores the warnings of at most MAX_WARNED licenses that expire soon; returns how many."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_SQL["warn"], {"now": now, "limit": MAX_WARNED})
            due = await cursor.fetchall()
            await add_in(connection, [warning_of(_license(document), days) for document, days in due])
            return len(due)

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
    ) -> ListedPage:
        """At most `limit` licenses that fit, after a place (its two values).

        `plans_with_symbol` are the plans that cover the filter's symbol.
        """
        after_place, after_id = after or (None, None)
        given: dict[str, Any] = {
            "plan": chosen.plan,
            "status": chosen.status,
            "account_id": chosen.account_id,
            "symbol": chosen.symbol,
            "reference": chosen.reference,
            "text": None if chosen.text is None else chosen.text.lower(),
            "expires_by": chosen.expires_by(now),
            "plans_with_symbol": list(plans_with_symbol),
            "order": order,
            "descending": descending,
            "after_place": after_place,
            "after_id": after_id,
            "now": now,
            "limit": limit + 1,
        }
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(_SQL["page"], given)).fetchall()
        licenses = [_license(row[0]) for row in rows[:limit]]
        end = Place(rows[limit - 1][2], rows[limit - 1][1]) if len(rows) > limit else None
        return ListedPage(licenses, rows[0][3] if rows else 0, end)


async def _put(
    connection: Connection, licenses: Sequence[License], *, is_set_back: bool
) -> list[tuple[License | None, License]]:
    """Lists licenses, and returns the steps: what was listed before, and what is now."""
    newest: dict[str, License] = {}
    for each in licenses:
        known = newest.get(each.license_id)
        if known is None or known.revision < each.revision:
            newest[each.license_id] = each
    given = {"rows": _rows(newest.values())}
    inserted = {row[0] for row in await (await connection.execute(_SQL["insert"], given)).fetchall()}
    others = sorted(newest.keys() - inserted)
    cursor = await connection.execute(_SQL["lock"], {"license_ids": others})
    listed = [_license(document) for (document,) in await cursor.fetchall()]
    steps: list[tuple[License | None, License]] = [
        (before, newest[before.license_id])
        for before in listed
        if is_set_back or before.revision < newest[before.license_id].revision
    ]
    if steps:
        await connection.execute(_SQL["replace"], {"rows": _rows([after for _, after in steps])})
    return steps + [(None, newest[license_id]) for license_id in sorted(inserted)]


def _rows(licenses: Iterable[License]) -> str:
    """The licenses as the rows that the queries take."""
    return msgspec.json.encode([_row(each) for each in licenses]).decode()


def _row(license_: License) -> dict[str, object]:
    # Postgres cannot store this character, and no license should wait for its list because of one.
    storable = msgspec.structs.replace(license_, notes=license_.notes.replace("\0", ""))
    return {
        "license_id": license_.license_id,
        "revision": license_.revision,
        "account_id": license_.account_id,
        "plan": license_.plan,
        "status": license_.status,
        "created_at": license_.created_at,
        "expires_at": license_.expires_at,
        "grace_until": license_.grace_until,
        # Nothing overrides the symbols of a test license, see PlanCatalog.terms_of.
        "symbols": None if is_test(license_) else license_.overrides.symbols,
        "reference": license_.reference,
        "search": searched_text(storable),
        "document": storable,
    }


def _license(document: Mapping[str, object]) -> License:
    return msgspec.convert(document, License)
