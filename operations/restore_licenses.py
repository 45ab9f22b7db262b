"""Restores licenses, keys and endings from an export: `python -m operations.restore_licenses plan|apply`.

An export is a file, or a blob of the account that EXPORTS_ENDPOINT (Entra ID) or EXPORTS_CONNECTION_STRING
names; the tables are those of TABLES_ENDPOINT or TABLES_CONNECTION_STRING, which may be another account's.
`apply` adds what is missing and replaces rows that are older than the export's. It never overwrites newer
rows unless told, and it deletes nothing. `new-key` makes a key pair for exports.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from operations.command import MISUSED, UsageError, run_command
from operations.exports import (
    Plan,
    add_export_arguments,
    apply,
    chosen_export,
    export_source,
    named_tables,
    plan_restore,
    read_private_keys,
    tokens_of,
    write_private_key,
)
from shared.adapters.postgres import Audit, Database
from shared.adapters.postgres.database import FUNCTIONS_ROLE
from shared.services.auditing import Auditor
from shared.settings_reader import SettingsReader

# The exit status of a restore that is stored, but not audited.
INCOMPLETE = 3


async def _run(options: argparse.Namespace) -> int:
    if options.command == "new-key":
        print(write_private_key(options.file))
        return 0
    reader = SettingsReader(os.environ)
    keys = read_private_keys(options.key_file)
    async with named_tables(reader) as tables:
        async with export_source(reader, tokens_of(reader)) as blobs:
            name, export = await chosen_export(blobs, options.export, keys)
        plan = await plan_restore(export, tables)
        print(f"export  {name}, of {export.made_at.isoformat()}")
        for line in plan.lines(even_newer=options.command == "apply" and options.even_newer):
            print(line)
        if options.command == "plan":
            return 0
        if not plan.is_sound and not options.without_licenses:
            raise UsageError("the export has keys without licenses; restore it with --without-licenses")
        changed = await apply(plan, tables, even_newer=options.even_newer, only_missing=options.only_missing)
    print(f"stored  {changed} rows")
    is_complete = options.without_audit or await _audit(reader, name, plan, changed)
    return 0 if is_complete else INCOMPLETE


async def _audit(reader: SettingsReader, name: str, plan: Plan, changed: int) -> bool:
    """Whether the audit log has an entry of the restore."""
    database = Database(reader.text("DATABASE_URL"), role=FUNCTIONS_ROLE, pool_size=1)
    try:
        auditor = Auditor(Audit(database), f"restore of licenses by {getpass.getuser()}")
        is_noted = await auditor.note("licenses restored", name[:200], rows=changed, **plan.counts())
    finally:
        await database.close()
    if not is_noted:
        print("The restore is stored, but the audit log got no entry. Note it elsewhere.", file=sys.stderr)
    return is_noted


def main(argv: Sequence[str] | None = None) -> int:
    """0 if all is done, 1 if it failed, 2 if an argument or a setting cannot be used, 3 if not audited."""
    options = _parser().parse_args(argv)
    if options.command == "apply" and not options.without_audit and not os.environ.get("DATABASE_URL"):
        print("DATABASE_URL of the audit log is not set: set it, or use --without-audit", file=sys.stderr)
        return MISUSED
    return run_command(_run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.restore_licenses",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    making = commands.add_parser("new-key", help="make a key pair, and print the public key")
    making.add_argument("file", type=Path, help="the new file of the private key")
    planning = commands.add_parser(
        "plan", help="check an export and say what `apply` would do; changes nothing"
    )
    applying = commands.add_parser("apply", help="restore an export")
    for each in (planning, applying):
        add_export_arguments(each)
    replaced = applying.add_mutually_exclusive_group()
    replaced.add_argument("--only-missing", action="store_true", help="replace no row, not even an older one")
    replaced.add_argument(
        "--even-newer", action="store_true", help="replace rows that changed after the export too"
    )
    applying.add_argument(
        "--without-licenses", action="store_true", help="restore keys without their licenses too"
    )
    applying.add_argument("--without-audit", action="store_true", help="write no entry of the audit log")
    return parser


if __name__ == "__main__":
    sys.exit(main())
