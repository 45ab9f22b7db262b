"""Restores the newest export of licenses into scratch tables, and compares them with the live ones."""

import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from operations.command import UsageError
from operations.exports import (
    Plan,
    apply,
    chosen_export,
    export_source,
    named_tables,
    plan_restore,
    read_private_keys,
    tokens_of,
)
from shared.adapters.tables import LicenseTables
from shared.domain.access.exports import Export
from shared.domain.access.keys import hash_key, parse_key, same_hash
from shared.domain.access.licenses import key_refusal, license_refusal
from shared.settings_reader import SettingsReader

# As the alert license-export-overdue.
MAX_AGE = timedelta(hours=26)
# A row that was made while the export read its table may be in it or not.
UNDER_WAY = timedelta(minutes=10)
SCRATCH = "SCRATCH_"


class Finding(NamedTuple):
    name: str
    is_good: bool
    text: str


async def drill_licenses(wanted: str, key_files: Iterable[Path], now: datetime) -> list[Finding]:
    """One finding for each check; raises UsageError if the scratch tables are not empty, and Unavailable.

    The scratch tables are those of SCRATCH_TABLES_ENDPOINT or SCRATCH_TABLES_CONNECTION_STRING. A key in
    SIGNAL_CLOUD_KEY must authenticate from them; with API_KEY_PEPPER, its hash is computed.
    """
    reader = SettingsReader(os.environ)
    private_keys = read_private_keys(key_files)
    async with export_source(reader, tokens_of(reader)) as blobs:
        name, export = await chosen_export(blobs, wanted, private_keys)
    async with named_tables(reader) as live, named_tables(reader, SCRATCH) as scratch:
        before = await plan_restore(export, scratch)
        if not (before.licenses.is_empty and before.keys.is_empty):
            raise UsageError("the scratch tables hold licenses or keys: name empty ones")
        await apply(before, scratch)
        found = [
            _age(name, export, now),
            _restored(export, await plan_restore(export, scratch)),
            *_live(await plan_restore(export, live)),
            await _nothing_forgotten(export, live),
        ]
        key = reader.optional("SIGNAL_CLOUD_KEY")
        if key:
            found.append(await _key(key, reader.optional("API_KEY_PEPPER"), scratch, live, now))
    return found


def _age(name: str, export: Export, now: datetime) -> Finding:
    age = now - export.made_at
    return Finding("export", age <= MAX_AGE, f"{name} is {age.total_seconds() / 3600:.1f} hours old")


def _restored(export: Export, after: Plan) -> Finding:
    """The scratch tables must hold the export's rows and no others, each as it is in the export."""
    counts = {"licenses": len(export.licenses), "keys": len(export.apikeys)}
    for name, part in (("licenses", after.licenses), ("keys", after.keys)):
        if part.missing or part.older or part.newer or part.only_live or part.same != counts[name]:
            return Finding("restored", False, f"{part.same} of {counts[name]} {name} came back as they were")
    if after.orphans:
        return Finding("restored", False, f"{len(after.orphans)} keys have no license")
    text = (
        f"{counts['licenses']} licenses, {counts['keys']} keys, {len(export.endings)} endings; checksum fits"
    )
    return Finding("restored", bool(export.licenses), text if export.licenses else "the export is empty")


def _live(live: Plan) -> list[Finding]:
    """What changed after the export has a higher revision in the live tables; nothing may be gone there."""
    return [
        Finding(
            f"live {name}",
            not part.missing and not part.older and not changed,
            f"{part.same} the same, {len(part.newer) - changed} changed since, {len(part.missing)} gone, "
            f"{len(part.older)} with a lower revision, {changed} other under the same revision",
        )
        for name, part, changed in (
            ("licenses", live.licenses, live.licenses.conflicts),
            ("keys", live.keys, live.keys.conflicts),
        )
    ]


async def _nothing_forgotten(export: Export, live: LicenseTables) -> Finding:
    """Live rows that the export lacks must be younger than it."""
    known = {row.license_id for row in export.licenses} | {row.public_id for row in export.apikeys}
    since = export.made_at - UNDER_WAY
    licenses = [
        row.license_id
        async for page in live.license_pages()
        for row in page
        if row.license_id not in known and row.created_at < since
    ]
    keys = [
        row.public_id
        async for page in live.key_pages()
        for row in page
        if row.public_id not in known and row.created_at < since
    ]
    return _forgotten([*licenses, *keys])


def _forgotten(names: Sequence[str]) -> Finding:
    text = f"{len(names)} older rows are not in it, such as {names[0]}" if names else "holds every older row"
    return Finding("complete", not names, text)


async def _key(text: str, pepper: str, scratch: LicenseTables, live: LicenseTables, now: datetime) -> Finding:
    """Whether a key would be let in by the restored tables, as the live tables let it in."""
    presented = parse_key(text)
    stored = await scratch.get_key(presented.public_id)
    license_ = None if stored is None else await scratch.get_license(stored.license_id)
    if stored is None or license_ is None:
        return Finding("key", False, f"{presented.public_id} is not in the export")
    refused = key_refusal(stored, now) or license_refusal(license_, now)
    if refused is not None:
        return Finding("key", False, f"{presented.public_id} is refused: {refused.code}")
    if pepper:
        fits = same_hash(stored.key_hash, hash_key(presented.text, pepper.encode()))
        return Finding(
            "key", fits, f"{presented.public_id} {'authenticates' if fits else 'has another hash'}"
        )
    held = await live.get_key(presented.public_id)
    fits = held is not None and same_hash(stored.key_hash, held.key_hash)
    return Finding(
        "key", fits, f"{presented.public_id} has {'the' if fits else 'not the'} hash of the live one"
    )
