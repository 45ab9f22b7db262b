"""Reads exports of licenses, compares them with tables, and stores what is missing or older there."""

import os
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from operations.command import UsageError
from shared.adapters.export_blobs import MAX_BLOB_BYTES, ExportBlobs
from shared.adapters.identity import Tokens, credential
from shared.adapters.sealing import new_private_key, public_key_of, unseal
from shared.adapters.tables import MAX_TRANSACTION, LicenseTables
from shared.domain.access.endings import Ending
from shared.domain.access.exports import Export, read_export
from shared.domain.access.licenses import ApiKey, License
from shared.errors import Conflict, NotFound
from shared.services.concurrency import run_for_each
from shared.services.license_export import DAILY
from shared.settings_reader import SettingsReader

AT_ONCE = 16
MAX_KEY_FILE_BYTES = 4096
NEWEST = "newest"


class Revised(Protocol):
    @property
    def revision(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Part[Row: Revised]:
    """The rows of one kind in an export, by what the tables have under their names.

    `newer` are those that the tables have with a higher revision, or with the same and other values, which
    are counted as `conflicts` and which no program of ours makes.
    """

    missing: Sequence[Row]
    older: Sequence[Row]
    newer: Sequence[Row]
    same: int
    only_live: int
    conflicts: int

    @property
    def is_empty(self) -> bool:
        """Whether the tables have no row of this kind."""
        return not (self.older or self.newer or self.same or self.only_live)

    def counts(self) -> dict[str, int]:
        parts = {"missing": len(self.missing), "older": len(self.older), "newer": len(self.newer)}
        return parts | {"same": self.same, "only_live": self.only_live}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore would do; `orphans` are the public ids of keys without a license anywhere."""

    licenses: Part[License]
    keys: Part[ApiKey]
    endings: Sequence[Ending]
    orphans: Sequence[str]

    @property
    def is_sound(self) -> bool:
        return not self.orphans

    def counts(self) -> dict[str, object]:
        return {"licenses": self.licenses.counts(), "keys": self.keys.counts(), "endings": len(self.endings)}

    def lines(self, *, even_newer: bool) -> list[str]:
        """One line for each kind of row."""
        newer = "to replace" if even_newer else "left alone"
        lines = [
            f"{name:<8} {len(part.missing)} missing, {len(part.older)} older, {len(part.newer)} newer or "
            f"other ({newer}), {part.same} the same, {part.only_live} that only the tables have"
            for name, part in (("licenses", self.licenses), ("keys", self.keys))
        ]
        lines.append(f"endings  {len(self.endings)} in the export")
        if self.orphans:
            lines.append(f"FAILED   {len(self.orphans)} keys without a license, such as {self.orphans[0]}")
        return lines


def add_export_arguments(parser: ArgumentParser) -> None:
    """Lets a command name an export, and the private keys that may open it."""
    parser.add_argument(
        "export", nargs="?", default=NEWEST, help=f"a file, the name of a blob, or `{NEWEST}` (the default)"
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="file of a private key; repeat it after a rotation",
    )


def write_private_key(path: Path) -> str:
    """Makes a key pair, writes the private key to the new file `path`, and returns the public key."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}") from error
    private = new_private_key()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(private + "\n")
    return public_key_of(private)


def read_private_keys(paths: Iterable[Path]) -> list[str]:
    """The private keys in these files; raises UsageError, without a key."""
    keys = []
    for path in paths:
        try:
            with path.open("rb") as file:
                key = file.read(MAX_KEY_FILE_BYTES).decode("ascii").strip()
            public_key_of(key)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {type(error).__name__}") from error
        keys.append(key)
    return keys


def tokens_of(reader: SettingsReader) -> Tokens:
    """Tokens of the machine's identity AZURE_CLIENT_ID, else of the account of the Azure CLI."""
    is_managed = bool(reader.optional("IDENTITY_ENDPOINT"))
    return Tokens(credential(reader.optional("AZURE_CLIENT_ID") if is_managed else None))


@asynccontextmanager
async def named_tables(reader: SettingsReader, prefix: str = "") -> AsyncIterator[LicenseTables]:
    """The tables of <prefix>TABLES_ENDPOINT or <prefix>TABLES_CONNECTION_STRING; raises UsageError."""
    endpoint, connection = f"{prefix}TABLES_ENDPOINT", f"{prefix}TABLES_CONNECTION_STRING"
    if bool(reader.optional(endpoint)) == bool(reader.optional(connection)):
        raise UsageError(f"set either {endpoint} (Entra ID) or {connection}")
    address = reader.optional(connection) or reader.address(endpoint, "https")
    reader.check(UsageError)
    async with tokens_of(reader) as tokens:
        tables = LicenseTables(address, tokens if reader.optional(endpoint) else None)
        try:
            yield tables
        finally:
            await tables.close()


@asynccontextmanager
async def export_source(reader: SettingsReader, tokens: Tokens) -> AsyncIterator[ExportBlobs | None]:
    """The blobs of exports; None if no setting names them, so that an export must be a file."""
    connection = reader.optional("EXPORTS_CONNECTION_STRING")
    endpoint = reader.optional("EXPORTS_ENDPOINT")
    blobs = None
    if endpoint:
        blobs = ExportBlobs(reader.address("EXPORTS_ENDPOINT", "https"), tokens)
        reader.check(UsageError)
    elif connection:
        blobs = ExportBlobs(connection)
    try:
        yield blobs
    finally:
        if blobs is not None:
            await blobs.close()
        await tokens.close()


async def chosen_export(
    blobs: ExportBlobs | None, wanted: str, private_keys: Sequence[str]
) -> tuple[str, Export]:
    """The name of an export and its content; raises ExportDamaged if it is damaged, and NotFound."""
    sealed = None if wanted == NEWEST else _file(Path(wanted))
    if sealed is not None:
        return Path(wanted).name, read_export(unseal(sealed, private_keys))
    if blobs is None:
        raise UsageError(f"{wanted} is no file: set EXPORTS_ENDPOINT or EXPORTS_CONNECTION_STRING for blobs")
    name = wanted
    if wanted == NEWEST:
        names = await blobs.names(f"{DAILY}/")
        if not names:
            raise NotFound("There is no export yet.")
        name = names[-1]
    return name, read_export(unseal(await blobs.read(name), private_keys))


def _file(path: Path) -> bytes | None:
    """The content of a file, as much of it as an export may have; None if there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(MAX_BLOB_BYTES + 1)


async def plan_restore(export: Export, tables: LicenseTables) -> Plan:
    """Compares an export with the tables, which it does not change; raises Unavailable."""
    keys = {row.public_id: row async for page in tables.key_pages() for row in page}
    licenses = {row.license_id: row async for page in tables.license_pages() for row in page}
    known = licenses.keys() | {row.license_id for row in export.licenses}
    return Plan(
        licenses=_part(export.licenses, licenses, lambda row: row.license_id),
        keys=_part(export.apikeys, keys, lambda row: row.public_id),
        endings=export.endings,
        orphans=sorted(row.public_id for row in export.apikeys if row.license_id not in known),
    )


def _part[Row: Revised](
    exported: Sequence[Row], stored: dict[str, Row], name: Callable[[Row], str]
) -> Part[Row]:
    missing: list[Row] = []
    older: list[Row] = []
    newer: list[Row] = []
    for row in exported:
        held = stored.get(name(row))
        if held is None:
            missing.append(row)
        elif held.revision < row.revision:
            older.append(row)
        elif held != row:
            newer.append(row)
    conflicts = sum(1 for row in newer if stored[name(row)].revision == row.revision)
    same = len(exported) - len(missing) - len(older) - len(newer)
    only_live = len(stored.keys() - {name(row) for row in exported})
    return Part(missing, older, newer, same, only_live, conflicts)


async def apply(
    plan: Plan, tables: LicenseTables, *, even_newer: bool = False, only_missing: bool = False
) -> int:
    """Stores what the plan says, licenses before keys, and returns how many rows; raises Unavailable.

    It can be repeated after a failure. A row that somebody changes during the restore stays as they
    store it, unless `even_newer`.
    """

    def replacement[Row: Revised](row: Row) -> Callable[[Row], Row]:
        return lambda held: row if even_newer or held.revision < row.revision else held

    async def store_license(row: License) -> None:
        try:
            await tables.add_license(row)
        except Conflict:
            if not only_missing:
                await tables.update_license(row.license_id, replacement(row))

    async def store_key(row: ApiKey) -> None:
        try:
            await tables.add_keys([row])
        except Conflict:
            if not only_missing:
                await tables.update_key(row.public_id, replacement(row))

    # Endings first: without its record, nobody would notice when a license or key ends.
    for first in range(0, len(plan.endings), MAX_TRANSACTION):
        await tables.add_endings(plan.endings[first : first + MAX_TRANSACTION])
    licenses = _wanted(plan.licenses, even_newer=even_newer, only_missing=only_missing)
    keys = _wanted(plan.keys, even_newer=even_newer, only_missing=only_missing)
    await run_for_each(store_license, licenses, at_once=AT_ONCE)
    await run_for_each(store_key, keys, at_once=AT_ONCE)
    return len(licenses) + len(keys) + len(plan.endings)


def _wanted[Row: Revised](part: Part[Row], *, even_newer: bool, only_missing: bool) -> list[Row]:
    if only_missing:
        return list(part.missing)
    return [*part.missing, *part.older, *(part.newer if even_newer else ())]
