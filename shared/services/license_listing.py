"""Brings the list of licenses up to date with Table Storage, and warns of licenses that expire soon.

Whoever changes a license lists the change at once. A timer runs this service every minute, for the changes
whose process died, or whose database was unavailable, just then.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from shared.domain.access.licenses import License
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.notifications.events import Event
from shared.domain.notifications.license_events import expiry_warning, license_events
from shared.errors import Unavailable

# Bounds the warnings of one run. Those that are left come with the next run.
MAX_WARNING_STEPS = 20

log = logging.getLogger(__name__)

EventsOf = Callable[[License | None, License], Sequence[Event]]
WarningOf = Callable[[License, int], Event]


class LicenseSource(Protocol):
    """The source of truth. Each method raises Unavailable."""

    def license_pages(self) -> AsyncIterator[Sequence[License]]: ...
    async def get_license(self, license_id: str) -> License | None: ...


class LicenseList(Protocol):
    """Each method raises Unavailable."""

    async def put(self, licenses: Sequence[License], events_of: EventsOf) -> int: ...
    async def set_back(self, license_: License) -> None: ...
    async def revisions(self, license_ids: Sequence[str]) -> dict[str, int]: ...
    async def warn(self, now: datetime, warning_of: WarningOf) -> int: ...


class LicenseListingService:
    """A run that is repeated, or that dies at any point, leaves nothing to repair."""

    def __init__(
        self, source: LicenseSource, listed: LicenseList, plans: PlanCatalog, now: Callable[[], datetime]
    ) -> None:
        self._source = source
        self._listed = listed
        self._plans = plans
        self._now = now

    async def note(self, license_: License) -> bool:
        """Lists a license that was just changed, unless Postgres is unavailable: then the timer does."""
        try:
            await self._listed.put([license_], self._events_of(self._now()))
        except Unavailable as error:
            log.warning("license %s is listed later: %s", license_.license_id, error.internal)
            return False
        return True

    async def run(self) -> int:
        """Lists what is newer in the source, page by page, then warns; returns how many it listed.

        Raises Unavailable.
        """
        now = self._now()
        changed = 0
        async for page in self._source.license_pages():
            changed += await self._bring_up_to_date(page, now)
        for _ in range(MAX_WARNING_STEPS):
            if not await self._listed.warn(now, partial(self._warning, now=now)):
                break
        return changed

    def _events_of(self, now: datetime) -> EventsOf:
        def events_of(before: License | None, after: License) -> Sequence[Event]:
            return license_events(before, after, self._plans.terms_of(after), now)

        return events_of

    def _warning(self, license_: License, days: int, now: datetime) -> Event:
        return expiry_warning(license_, days, self._plans.terms_of(license_), now)

    async def _bring_up_to_date(self, page: Sequence[License], now: datetime) -> int:
        known = await self._listed.revisions([each.license_id for each in page])
        newer = [each for each in page if known.get(each.license_id, 0) < each.revision]
        changed = await self._listed.put(newer, self._events_of(now)) if newer else 0
        for each in page:
            if known.get(each.license_id, 0) > each.revision:
                changed += await self._set_back(each.license_id, known[each.license_id])
        return changed

    async def _set_back(self, license_id: str, listed: int) -> int:
        """Lists a license of which a later revision is listed, if the source has gone back to an earlier one.

        The source is read again: it may only have changed since its page was read. A revision is listed after
        the source has it, so a source that is still behind was restored from a copy.
        """
        license_ = await self._source.get_license(license_id)
        if license_ is None or license_.revision >= listed:
            return 0
        log.warning("license %s went back from revision %d to %d", license_id, listed, license_.revision)
        await self._listed.set_back(license_)
        return 1
