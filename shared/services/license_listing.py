"""Brings the list of licenses up to date with Table Storage, and warns of licenses that expire soon.

Whoever changes a license lists the change at once. A timer runs this service every minute, for the changes
whose process died, or whose database was unavailable, just then.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.access.licenses import License

# Bounds the warnings of one run. Those that are left come with the next run.
MAX_WARNING_STEPS = 20

log = logging.getLogger(__name__)


class LicenseSource(Protocol):
    """The source of truth. Each method raises Unavailable."""

    def license_pages(self) -> AsyncIterator[Sequence[License]]: ...
    async def get_license(self, license_id: str) -> License | None: ...


class LicenseList(Protocol):
    """Each method raises Unavailable."""

    async def put(self, licenses: Sequence[License], at: datetime) -> int: ...
    async def set_back(self, license_: License, at: datetime) -> None: ...
    async def revisions(self, license_ids: Sequence[str]) -> dict[str, int]: ...
    async def warn(self, now: datetime) -> int: ...


class LicenseListingService:
    """A run that is repeated, or that dies at any point, leaves nothing to repair."""

    def __init__(self, source: LicenseSource, listed: LicenseList) -> None:
        self._source = source
        self._listed = listed

    async def run(self, now: datetime) -> int:
        """Lists what is newer in the source, page by page, then warns; returns how many it listed.

        Raises Unavailable.
        """
        changed = 0
        async for page in self._source.license_pages():
            changed += await self._bring_up_to_date(page, now)
        for _ in range(MAX_WARNING_STEPS):
            if not await self._listed.warn(now):
                break
        return changed

    async def _bring_up_to_date(self, page: Sequence[License], now: datetime) -> int:
        known = await self._listed.revisions([each.license_id for each in page])
        newer = [each for each in page if known.get(each.license_id, 0) < each.revision]
        changed = await self._listed.put(newer, now) if newer else 0
        for each in page:
            if known.get(each.license_id, 0) > each.revision:
                changed += await self._set_back(each.license_id, known[each.license_id], now)
        return changed

    async def _set_back(self, license_id: str, listed: int, now: datetime) -> int:
        """Lists a license of which a later revision is listed, if the source has gone back to an earlier one.

        The source is read again: it may only have changed since its page was read. A revision is listed after
        the source has it, so a source that is still behind was restored from a copy.
        """
        license_ = await self._source.get_license(license_id)
        if license_ is None or license_.revision >= listed:
            return 0
        log.warning("license %s went back from revision %d to %d", license_id, listed, license_.revision)
        await self._listed.set_back(license_, now)
        return 1
