"""Writes tables as CSV (RFC 4180) that no spreadsheet takes for formulas."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from shared.domain.plain_json import encode

CSV_TYPE = "text/csv"

# A spreadsheet runs a cell that begins with one of these as a formula, which may call a program or send the
# table away. A quotation mark before it makes it text; whole and decimal numbers stay as they are.
_FORMULA = re.compile(r"[=+\-@\t\r\n|%]|[\uff1d\uff0b\uff0d\uff20]")
_QUOTED = re.compile(r'[",\r\n]')
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]], *, header: bool = True) -> str:
    """`rows` as lines of CSV in the order of `columns`, below a line of their names if `header`."""
    lines = [_line(columns)] if header else []
    lines += [_line([_cell(row.get(column)) for column in columns]) for row in rows]
    return "".join(lines)


def _line(cells: Sequence[str]) -> str:
    quoted = ('"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell for cell in cells)
    return ",".join(quoted) + "\r\n"


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case list() | tuple() if all(isinstance(each, str) for each in value):
            text = " ".join(map(str, value))
        case list() | tuple() | dict():
            text = encode(value).decode()
        case _:
            text = str(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
