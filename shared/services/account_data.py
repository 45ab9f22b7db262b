"""Exports everything that is stored about an account, and erases it.

An erasure has two parts. The request notes it, revokes licenses and keys, and takes the holder from them:
from then on nothing of the account works. A timer then erases the rows in Postgres, in bounded steps. Each
step may be repeated, so a process that dies at any point leaves nothing to repair.
"""

import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Protocol

import msgspec

from shared.domain.access.account_data import (
    ACCOUNT_TABLES,
    Erasure,
    erased,
    new_pseudonym,
)
from shared.domain.access.keys import RandomBytes
from shared.domain.access.license_rows import key_row
from shared.domain.access.licenses import ApiKey, License
from shared.errors import NotFound
from shared.services.auditing import AuditLog, Auditor
from shared.services.license_keys import Effect

ZIP_TYPE = "application/zip"
# What one answer may hold; a command writes a larger export to a file.
MAX_EXPORT_ROWS = 100_000
MAX_EXPORT_BYTES = 16 * 1024**2
# Bounds one run of the timer.
MAX_ERASURES = 20
MAX_STEPS = 100
_ERASED = tuple(table for table in ACCOUNT_TABLES if table.erased != "kept")

log = logging.getLogger(__name__)

type Row = Mapping[str, Any]


class AccountStore(Protocol):
    """Each method raises Unavailable."""

    def rows(
        self, table: str, account_id: str, license_ids: Sequence[str], subjects: Sequence[str]
    ) -> AsyncGenerator[Sequence[Row]]: ...
    async def count(
        self, table: str, account_id: str, license_ids: Sequence[str], subjects: Sequence[str]
    ) -> int: ...
    async def begin_erasure(self, account_id: str, pseudonym: str, now: datetime) -> Erasure: ...
    async def erasure_of(self, account_id: str) -> Erasure | None: ...
    async def erasures_under_way(self, limit: int) -> list[Erasure]: ...
    async def erase_some(self, table: str, erasure: Erasure, subjects: Sequence[str]) -> int: ...
    async def finish_erasure(self, erasure: Erasure, now: datetime) -> None: ...


class LicensesOfAccounts(Protocol):
    """The source of truth. Each method raises Unavailable."""

    async def licenses_of(self, account_id: str) -> list[License]: ...
    async def keys_of(self, license_id: str) -> list[ApiKey]: ...


class LicenseChanger(Protocol):
    async def change(self, license_id: str, change: Callable[[License], License], reason: str) -> Effect: ...
    async def revoke_key(self, public_id: str) -> Effect: ...


class Archive(Protocol):
    """A file under way, closed at the end of its block; raises ExportTooLarge above its bounds."""

    def __enter__(self) -> object: ...
    def __exit__(self, *_: object) -> None: ...
    async def add(self, name: str, pages: AsyncIterator[Sequence[Row]]) -> None: ...
    def finish(self, about: Mapping[str, object]) -> None: ...


class ErasedTable(msgspec.Struct, frozen=True):
    """What an erasure does with a table: how many rows the account has there, and why some stay."""

    table: str
    rows: int
    erased: str
    why: str


class ErasureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure does, or would do if it were no dry run.

    `pseudonym` replaces the account wherever rows stay. The rows go within a few minutes; send the same
    request again to see what is left. `complete` says whether each follow-up step of the revocations is done.
    """

    dry_run: bool
    account_id: str
    pseudonym: str | None
    licenses: int
    keys: int
    complete: bool
    tables: list[ErasedTable]


class AccountDataService:
    """Every method raises Unavailable."""

    def __init__(
        self,
        *,
        store: AccountStore,
        licenses: LicensesOfAccounts,
        audit: AuditLog,
        now: Callable[[], datetime],
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._licenses = licenses
        self._audit = audit
        self._now = now
        self._rng = rng

    async def export(self, account_id: str, archive: Archive, actor: str) -> None:
        """Writes everything of the account; raises NotFound if there is nothing, and ExportTooLarge."""
        with archive:
            held, keys = await self._held(account_id)
            subjects = _subjects(account_id, held, keys)
            license_ids = [each.license_id for each in held]
            await archive.add("licenses", _page([msgspec.structs.asdict(each) for each in held]))
            await archive.add("keys", _page([msgspec.structs.asdict(key_row(key)) for key in keys]))
            for table in ACCOUNT_TABLES:
                rows = self._store.rows(table.name, account_id, license_ids, subjects)
                # If the archive refuses a page, the read still holds a connection of the database.
                async with aclosing(rows):
                    await archive.add(table.name, rows)
            archive.finish({"account_id": account_id, "made_at": self._now().isoformat(), "tables": _ABOUT})
        await Auditor(self._audit, actor).note("account exported", account_id)

    async def preview(self, account_id: str) -> ErasureReport:
        """What an erasure would do; raises NotFound if there is nothing of the account."""
        held, keys = await self._held(account_id)
        tables = await self._counts(account_id, held, keys)
        return ErasureReport(
            dry_run=True,
            account_id=account_id,
            pseudonym=None,
            licenses=len(held),
            keys=len(keys),
            complete=True,
            tables=tables,
        )

    async def erase(self, account_id: str, changer: LicenseChanger) -> ErasureReport:
        """Notes the erasure, and ends licenses and keys; the timer does the rest.

        A repetition goes on where the one before has stopped. Raises NotFound if there is nothing of the
        account.
        """
        held, keys = await self._held(account_id)
        erasure = await self._store.begin_erasure(account_id, new_pseudonym(self._rng), self._now())
        tables = await self._counts(account_id, held, keys)
        complete = True
        for key in keys:
            if key.status != "revoked":
                complete &= _is_complete(await changer.revoke_key(key.public_id))
        for license_ in held:
            effect = await changer.change(
                license_.license_id, lambda each: erased(each, erasure.pseudonym), "license erased"
            )
            complete &= _is_complete(effect)
        return ErasureReport(
            dry_run=False,
            account_id=account_id,
            pseudonym=erasure.pseudonym,
            licenses=len(held),
            keys=len(keys),
            complete=complete,
            tables=tables,
        )

    async def run(self) -> int:
        """Erases the rows of accounts whose erasure is under way, as far as a run may; returns how many rows.

        An erasure is finished when nothing is left, some time after it began: see SETTLES_AFTER.
        """
        rows = 0
        for erasure in await self._store.erasures_under_way(MAX_ERASURES):
            rows += await self._go_on(erasure, self._now())
        return rows

    async def _go_on(self, erasure: Erasure, now: datetime) -> int:
        left = await self._licenses.licenses_of(erasure.account_id)
        held = left + await self._licenses.licenses_of(erasure.pseudonym)
        keys = [key for each in held for key in await self._licenses.keys_of(each.license_id)]
        subjects = _subjects(erasure.account_id, held, keys)
        rows = steps = 0
        for table in _ERASED:
            while count := await self._store.erase_some(table.name, erasure, subjects):
                rows, steps = rows + count, steps + 1
                if steps >= MAX_STEPS:
                    return rows
        if left:
            # The request has died before it had changed every license: it must be sent again.
            log.warning("the erasure of %s waits: %d licenses are not erased", erasure.pseudonym, len(left))
        elif not rows and erasure.may_finish(now):
            await self._store.finish_erasure(erasure, now)
            await Auditor(self._audit, "timer").note("account erased", erasure.pseudonym)
        return rows

    async def _held(self, account_id: str) -> tuple[list[License], list[ApiKey]]:
        """The account's licenses and keys, or those of its pseudonym if its erasure is under way."""
        held = await self._licenses.licenses_of(account_id)
        erasure = await self._store.erasure_of(account_id)
        if erasure is not None:
            held += await self._licenses.licenses_of(erasure.pseudonym)
        if not held and erasure is None and not await self._has_rows(account_id):
            raise NotFound(f"There is no account {account_id[:64]}.")
        return held, [key for each in held for key in await self._licenses.keys_of(each.license_id)]

    async def _has_rows(self, account_id: str) -> bool:
        """Whether an account without licenses has anything: its payments may never have led to one."""
        for table in ACCOUNT_TABLES:
            if await self._store.count(table.name, account_id, [], [account_id]):
                return True
        return False

    async def _counts(
        self, account_id: str, held: Sequence[License], keys: Sequence[ApiKey]
    ) -> list[ErasedTable]:
        license_ids = [each.license_id for each in held]
        subjects = _subjects(account_id, held, keys)
        return [
            ErasedTable(
                table.name,
                await self._store.count(table.name, account_id, license_ids, subjects),
                table.erased,
                table.why,
            )
            for table in ACCOUNT_TABLES
        ]


def _subjects(account_id: str, held: Sequence[License], keys: Sequence[ApiKey]) -> list[str]:
    return [account_id, *(each.license_id for each in held), *(key.public_id for key in keys)]


def _is_complete(effect: Effect) -> bool:
    return effect.caches_told and effect.connections_closed and effect.audited


async def _page(rows: Sequence[Row]) -> AsyncIterator[Sequence[Row]]:
    if rows:
        yield rows


_ABOUT = {table.name: {"erased": table.erased, "why": table.why} for table in ACCOUNT_TABLES}
