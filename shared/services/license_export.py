"""Exports all licenses, keys and endings, sealed, to a store that this app can only add to."""

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from shared.domain.access.endings import Ending
from shared.domain.access.exports import End, ExportWriter
from shared.domain.access.licenses import ApiKey, License
from shared.metrics import Count, Counter

DAILY = "daily"
MONTHLY = "monthly"
# The first days of a month leave an export for a year too: three, because one run may fail.
MONTHLY_DAYS = 3

log = logging.getLogger(__name__)


class ExportedStore(Protocol):
    """Each method yields all rows, page by page, and raises Unavailable."""

    def key_pages(self) -> AsyncIterator[Sequence[ApiKey]]: ...
    def license_pages(self) -> AsyncIterator[Sequence[License]]: ...
    def ending_pages(self) -> AsyncIterator[Sequence[Ending]]: ...


class ExportStore(Protocol):
    async def add(self, name: str, content: bytes) -> None:
        """Adds a new export; raises Unavailable, and Conflict if the name is taken."""


async def packed_export(store: ExportedStore, now: datetime) -> tuple[bytes, End]:
    """All rows of `store`, read page by page while others may change them; raises Unavailable.

    Keys come first, because a key's license exists before it, and no license is ever deleted: so each
    exported key has its license. Endings come last, because an ending is recorded before it takes place.
    """
    writer = ExportWriter(now)
    async for keys in store.key_pages():
        writer.add_keys(keys)
    async for licenses in store.license_pages():
        writer.add_licenses(licenses)
    async for endings in store.ending_pages():
        writer.add_endings(endings)
    return writer.finish()


class LicenseExportService:
    """A timer runs it every night. A run that is repeated makes one more export, which harms nothing."""

    def __init__(
        self,
        *,
        store: ExportedStore,
        exports: ExportStore,
        seal: Callable[[bytes], bytes] | None,
        count: Counter,
    ) -> None:
        """`seal` encrypts an export for its owner; if it is None, this deployment makes no exports."""
        self._store = store
        self._exports = exports
        self._seal = seal
        self._count = count

    async def run(self, now: datetime) -> list[str]:
        """Makes one export, and returns the names under which it is stored; raises Unavailable."""
        if self._seal is None:
            return []
        packed, end = await packed_export(self._store, now)
        sealed = self._seal(packed)
        name = export_name(now, secrets.token_hex(4))
        names = [f"{DAILY}/{name}"] + ([f"{MONTHLY}/{name}"] if now.day <= MONTHLY_DAYS else [])
        for each in names:
            await self._exports.add(each, sealed)
        self._count(Count.LICENSE_EXPORTS)
        log.info(
            "exported %d licenses, %d keys and %d endings in %d bytes as %s",
            *(end.licenses, end.apikeys, end.endings, len(sealed), names[0]),
        )
        return names


def export_name(now: datetime, ending: str) -> str:
    """A name that sorts by time; `ending` tells the exports of one second apart."""
    return f"{now.astimezone(UTC):%Y-%m-%dT%H%M%SZ}-{ending}.jsonl.gz.sealed"
