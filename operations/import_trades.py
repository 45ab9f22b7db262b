"""Imports trades that are too old for a bot to report: `python -m operations.import_trades LICENSE FILE`.

The file is CSV with a header (.csv) or JSON lines (.jsonl), with the fields of POST /api/trades; in CSV,
features are a JSON object, and an empty cell means that a field is absent. The command first checks the whole
file and stores nothing if a line is wrong. It may run again: a known trade changes nothing. Imported trades
count for the account's stored rows and bytes, which do not stop an import, and not for the trades of a day.

Settings are those of `python -m operations.license`. DATABASE_URL's login must be able to take both roles, as
the owner of the database can.
"""

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path

import msgspec

from operations.command import FAILED, UsageError, run_command
from operations.license import command_settings
from shared.container import Container
from shared.domain.access.licenses import License, is_license_id
from shared.domain.confidence.state_checks import check_trade_state
from shared.domain.decoding import decode
from shared.domain.json_text import parsed
from shared.domain.market.symbols import root_hint
from shared.domain.numbers import JSON_NUMBER
from shared.domain.problems import Problems
from shared.domain.trading.trades import MAX_TRADES_PER_REQUEST, Trade, check_trade
from shared.errors import InvalidInput, MalformedJson, NotFound

# Stands in each imported trade where a report has the public id of its key.
IMPORT_KEY = "import"
MAX_SHOWN = 20
PROGRESS_EVERY = 10_000
_SUFFIXES = (".csv", ".jsonl")
# CSV has only text; these fields are numbers in JSON.
_NUMBERS = ("quantity", "entry_price", "exit_price", "pnl", "fees", "signal_sequence", "confidence")

type Line = tuple[int, bytes]


def main(argv: Sequence[str] | None = None) -> int:
    """0 if every trade is stored, 1 if the file or a trade was refused, 2 if an argument cannot be used."""
    return run_command(_run(_parser().parse_args(argv)))


async def _run(options: argparse.Namespace) -> int:
    container = Container(command_settings(os.environ))
    try:
        license_ = await _license(container, options.license)
        symbols = container.plans.terms_of(license_).symbols
        count, months, problems = await _checked(options.file, container, symbols)
        if problems:
            print("\n".join(problems[:MAX_SHOWN]), file=sys.stderr)
            print("Nothing was imported. Correct these lines, then run the command again.", file=sys.stderr)
            return FAILED
        print(f"{count:,} trades of {len(months)} months are right")
        if options.check:
            return 0
        for month in sorted(months):
            await container.stores.upkeep.ensure_partitions(month)
        return await _import(container, license_.account_id, options.file, count)
    finally:
        await container.close()


async def _license(container: Container, license_id: str) -> License:
    found = await container.tables.get_license(license_id)
    if found is None:
        raise NotFound(f"There is no license {license_id}.")
    return found


async def _checked(
    file: Path, container: Container, symbols: Collection[str]
) -> tuple[int, set[datetime], list[str]]:
    """The number of trades, the first moments of their months, and what is wrong, by line.

    Trades of symbols that are not in the license's `symbols` are right: it may have covered them before.
    """
    strategies, now = container.strategies, container.now()
    count, months, found = 0, set[datetime](), list[str]()
    for number, line in _lines(file):
        count += 1
        problems = Problems()
        try:
            trade = decode(line, Trade)
            check_trade(trade, now, problems, max_age=None)
            if (hint := root_hint(trade.symbol)) is not None and trade.symbol not in symbols:
                problems.add("symbol", "unknown_value", hint)
            others = {trade.strategy} - strategies.keys()
            published = await container.stores.signals.published_among(others) if others else ()
            check_trade_state(trade.strategy, trade.features, strategies, published, problems)
            problems.refuse()
        except InvalidInput as refused:
            found += [f"line {number}: {each.field}: {each.message}" for each in refused.errors] or [
                f"line {number}: {refused.detail}"
            ]
            if len(found) >= MAX_SHOWN:
                break
        else:
            exit_at = trade.exit_at.astimezone(UTC)
            months.add(exit_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    return count, months, found


async def _import(container: Container, account_id: str, file: Path, count: int) -> int:
    counts: Counter[str] = Counter()
    conflicts: list[str] = []
    done = 0
    for batch in batched(_lines(file), MAX_TRADES_PER_REQUEST, strict=False):
        trades = [decode(line, Trade) for _, line in batch]
        for result in await container.stores.trades.record(account_id, IMPORT_KEY, trades):
            counts[result.status] += 1
            if result.status == "conflict" and len(conflicts) < MAX_SHOWN:
                conflicts.append(result.trade_id)
        done += len(batch)
        if done % PROGRESS_EVERY < len(batch) or done == count:
            print(f"{done:,} of {count:,}", file=sys.stderr)
    print(
        f"imported {counts['recorded']:,} trades of {account_id}; "
        f"{counts['duplicate']:,} were stored before, {counts['conflict']:,} have another trade's trade_id"
    )
    if conflicts:
        print(f"not imported: {', '.join(conflicts)}", file=sys.stderr)
    return FAILED if conflicts else 0


def _lines(file: Path) -> Iterator[Line]:
    """The number of each line with a trade, and the trade as JSON; raises UsageError for another format."""
    try:
        yield from _read_lines(file)
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8; save it as UTF-8, then run the command again") from error
    except csv.Error as error:
        raise UsageError(f"{file} cannot be read as CSV: {error}") from error


def _read_lines(file: Path) -> Iterator[Line]:
    # Excel and others begin UTF-8 with a byte order mark.
    with file.open(encoding="utf-8-sig", newline="") as text:
        if file.suffix == ".jsonl":
            yield from ((number, line.encode()) for number, line in enumerate(text, 1) if line.strip())
            return
        rows = csv.DictReader(text, strict=True)
        names = Counter(rows.fieldnames or ())
        repeated = [name for name, count in names.items() if count > 1]
        if repeated:
            raise UsageError(f"{file}: the header names {', '.join(repeated)} more than once")
        unknown = names.keys() - set(Trade.__struct_fields__)
        if unknown or not names:
            raise UsageError(
                f"{file}: the header must name fields of a trade ({', '.join(Trade.__struct_fields__)}), "
                f"not {', '.join(sorted(unknown)) or 'nothing'}"
            )
        for row in rows:
            if None in row:
                raise UsageError(f"{file}: line {rows.line_num} has more cells than the header")
            cells = {name: _value(name, cell) for name, cell in row.items() if cell}
            yield rows.line_num, msgspec.json.encode(cells)


def _value(name: str, cell: str) -> msgspec.Raw | str:
    """The cell as JSON; as text if the field is one, or if the cell is no JSON, which the check then says."""
    if name == "features":
        return msgspec.Raw(cell.encode()) if _is_json(cell) else cell
    return msgspec.Raw(cell.encode()) if name in _NUMBERS and JSON_NUMBER.fullmatch(cell) else cell


def _is_json(cell: str) -> bool:
    try:
        parsed(cell.encode())
    except MalformedJson as refused:
        # A name that stands twice: the check of the trade names it, too.
        return bool(refused.errors)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.import_trades",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("license", type=_license_id, help="the license of the account, such as lic_4f...")
    parser.add_argument("file", type=_file, help="trades as .csv or .jsonl")
    parser.add_argument("--check", action="store_true", help="only check the file")
    return parser


def _license_id(text: str) -> str:
    if not is_license_id(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a license, such as lic_4f...")
    return text


def _file(text: str) -> Path:
    file = Path(text)
    if file.suffix not in _SUFFIXES or not file.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file that ends with {' or '.join(_SUFFIXES)}")
    return file


if __name__ == "__main__":
    sys.exit(main())
