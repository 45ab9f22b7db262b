"""Reads a file of delimited text, packed or not, as rows of cells with their line numbers."""

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

# About five million bars, fourteen years of them. A packed file could hold any amount.
MAX_BYTES = 256 * 2**20
DELIMITERS = (",", ";", "\t")
_GZIP = b"\x1f\x8b"
# What else people pack files with, by the first bytes.
_PACKED = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BLANKS = " \t"
# The line in which Excel is told the delimiter.
_EXCEL_HINT = "sep="


class BarFileError(Exception):
    """A bar file cannot be used; the text names the file, what is wrong, and what to do."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


@dataclass(frozen=True, slots=True)
class Row:
    """One line's cells, without the blanks around them; `line` counts from 1."""

    line: int
    cells: list[str]


def read_table(path: Path) -> list[Row]:
    """Every row that is not blank. Raises BarFileError if the file cannot be read or is too large.

    The file is UTF-8 or, with its mark, UTF-16; gzip is known by its first bytes. Commas, semicolons or
    tabs separate the cells. A byte that is not text shows escaped in its cell.
    """
    text = _text(path, _content(path))
    first = text.lstrip().partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    rows: list[Row] = []
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip(_BLANKS) for cell in cells]
            if any(stripped) and not stripped[0].startswith(_EXCEL_HINT):
                rows.append(Row(reader.line_num, stripped))
    except csv.Error as error:
        raise BarFileError(path, f"line {reader.line_num} cannot be read: {error}") from error
    return rows


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            begin = file.peek(8)
            for magic, packer in _PACKED.items():
                if begin.startswith(magic):
                    raise BarFileError(path, f"is packed with {packer}; unpack it, or pack it with gzip")
            content = (gzip.GzipFile(fileobj=file) if begin.startswith(_GZIP) else file).read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BarFileError(path, f"cannot be read: {error}") from error
    if len(content) > MAX_BYTES:
        raise BarFileError(path, f"holds more than {MAX_BYTES // 2**20} MiB of text; split it")
    return content


def _text(path: Path, content: bytes) -> str:
    encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
    text = content.decode(encoding, "backslashreplace")
    if "\0" in text:
        raise BarFileError(path, "is not text; bars are read from CSV")
    return text
