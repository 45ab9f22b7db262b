"""Exports or erases everything of one account: `python -m operations.account export|erase`.

Settings are those of `python -m operations.license`. Exports are written to a file, of any size. An erasure
is a dry run without --yes; the timers of the deployment then erase the rows, within a few minutes.
"""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from errno import EISDIR
from pathlib import Path
from typing import IO

import msgspec

from operations.command import UsageError, run_command
from operations.license.outcome import INCOMPLETE
from operations.license.settings import command_settings
from shared.adapters.account_archive import AccountArchive
from shared.container import Container
from shared.services.account_data import ErasureReport


def main(argv: Sequence[str] | None = None) -> int:
    """0 if all is done, 1 if it was refused or failed, 2 if an argument cannot be used.

    3 if the erasure is stored, but a follow-up step has failed: run it again.
    """
    return run_command(_run(_parser().parse_args(argv)))


async def _run(options: argparse.Namespace) -> int:
    container = Container(command_settings(os.environ))
    actor = f"account command of {getpass.getuser()}"
    try:
        if options.command == "export":
            return await _export(container, options, actor)
        service = container.account_data
        if options.yes:
            report = await service.erase(options.account, container.license_service(actor))
        else:
            report = await service.preview(options.account)
    finally:
        await container.close()
    return _show(report, as_json=options.json)


async def _export(container: Container, options: argparse.Namespace, actor: str) -> int:
    # Not opened in place: an export that fails half-way leaves no file that looks complete.
    part = options.file.with_name(options.file.name + ".part")
    try:
        with await asyncio.to_thread(_opened, options.file, part) as target:
            part.chmod(0o600)
            archive = AccountArchive(target, datetime.now(UTC), max_rows=None, max_bytes=None)
            await container.account_data.export(options.account, archive, actor)
        part.replace(options.file)
    finally:
        part.unlink(missing_ok=True)
    rows = {"file": str(options.file), "rows": archive.rows}
    if options.json:
        print(msgspec.json.encode(rows).decode())
    else:
        print(f"{options.file}: {sum(archive.rows.values())} rows of {len(archive.rows)} tables")
    return 0


def _opened(file: Path, part: Path) -> IO[bytes]:
    """`part`, which becomes `file`, open to be written; raises UsageError if it cannot be."""
    try:
        if file.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        return part.open("wb")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error


def _show(report: ErasureReport, *, as_json: bool) -> int:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        print(f"{report.account_id}: {report.licenses} licenses, {report.keys} keys")
        for table in report.tables:
            print(f"  {table.rows:>9}  {table.table:<20} {table.erased:<14} {table.why}")
        if report.dry_run:
            print("Nothing is erased yet: run it again with --yes.")
        else:
            print(f"The account is {report.pseudonym} from now on. The timers erase its rows within minutes.")
    if not report.complete:
        print("Not every follow-up step is done: run it again.", file=sys.stderr)
    return 0 if report.complete else INCOMPLETE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.account", description="Exports or erases everything of one account."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    export = commands.add_parser("export", help="write a zip file of JSON and CSV")
    export.add_argument("--file", type=Path, required=True, help="where to write it, such as account.zip")
    erase = commands.add_parser("erase", help="erase the account; a dry run without --yes")
    erase.add_argument("--yes", action="store_true", help="erase it")
    for each in (export, erase):
        each.add_argument("account", help="such as acct-1")
        each.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
