"""Describes an export of all licenses, keys and endings: compressed JSON lines that prove to be complete.

The first line is a Header, the last an End with the counts and the checksum of all lines before it. Each line
between holds one row: `{"apikey": ...}`, `{"license": ...}` or `{"ending": ...}`.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from shared.domain.access.endings import Ending
from shared.domain.access.licenses import ApiKey, License
from shared.errors import ExportDamaged, InternalError

FORMAT = "signal-cloud-licenses"
VERSION = 2
# 10,000 licenses with 20,000 keys are about 2 MB. The process holds one export in memory, and sends it in one
# request, because a right to add blobs covers no blocks.
MAX_PACKED_BYTES = 64 * 1024**2
MAX_UNPACKED_BYTES = 512 * 1024**2
_GZIP = 31


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The format of an export; `made_at` is when its first row was read."""

    format: str
    version: int
    made_at: datetime


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many rows an export has, and the SHA-256 of all lines before this one, in hex."""

    apikeys: int
    licenses: int
    endings: int
    sha256: str


class _Line(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    apikey: ApiKey | None = None
    license: License | None = None
    ending: Ending | None = None
    end: End | None = None


class Export(msgspec.Struct, frozen=True):
    """What an export holds, in the order in which it was read."""

    made_at: datetime
    end: End
    apikeys: tuple[ApiKey, ...]
    licenses: tuple[License, ...]
    endings: tuple[Ending, ...]


class ExportWriter:
    """Packs rows as they are read, so that the process holds one page of them and the packed rest."""

    def __init__(self, made_at: datetime) -> None:
        self._packer = zlib.compressobj(wbits=_GZIP)
        self._digest = hashlib.sha256()
        self._packed = bytearray()
        self._counts: Counter[str] = Counter()
        self._write(msgspec.json.encode(Header(FORMAT, VERSION, made_at)))

    def add_keys(self, rows: Sequence[ApiKey]) -> None:
        self._add("apikeys", [_Line(apikey=row) for row in rows])

    def add_licenses(self, rows: Sequence[License]) -> None:
        self._add("licenses", [_Line(license=row) for row in rows])

    def add_endings(self, rows: Sequence[Ending]) -> None:
        self._add("endings", [_Line(ending=row) for row in rows])

    def finish(self) -> tuple[bytes, End]:
        """The packed export and its last line; raises InternalError if it is too large."""
        end = End(
            apikeys=self._counts["apikeys"],
            licenses=self._counts["licenses"],
            endings=self._counts["endings"],
            sha256=self._digest.hexdigest(),
        )
        self._write(msgspec.json.encode(_Line(end=end)))
        self._packed += self._packer.flush()
        self._check_size()
        return bytes(self._packed), end

    def _add(self, kind: str, lines: Sequence[_Line]) -> None:
        self._counts[kind] += len(lines)
        for line in lines:
            self._write(msgspec.json.encode(line))
        self._check_size()

    def _write(self, line: bytes) -> None:
        self._digest.update(line + b"\n")
        self._packed += self._packer.compress(line + b"\n")

    def _check_size(self) -> None:
        if len(self._packed) > MAX_PACKED_BYTES:
            raise InternalError(
                "an export of licenses is too large", internal=f"over {MAX_PACKED_BYTES} bytes"
            )


def read_export(packed: bytes) -> Export:
    """The export in `packed`; raises ExportDamaged if it is damaged, incomplete or of another format."""
    lines = _lines(_unpacked(packed))
    digest = hashlib.sha256()
    try:
        first = next(lines, b"")
        header = msgspec.json.decode(first, type=Header)
    except msgspec.MsgspecError as error:
        raise ExportDamaged(f"This is no export of licenses: {error}") from error
    if (header.format, header.version) != (FORMAT, VERSION):
        raise ExportDamaged(
            f"This code reads {FORMAT} {VERSION}, and this is {header.format} {header.version}."
        )
    digest.update(first + b"\n")
    rows: tuple[list[ApiKey], list[License], list[Ending]] = ([], [], [])
    end: End | None = None
    decoder = msgspec.json.Decoder(_Line)
    for number, text in enumerate(lines, start=2):
        if end is not None:
            raise ExportDamaged("The export goes on after its last line.")
        try:
            line = decoder.decode(text)
        except msgspec.MsgspecError as error:
            raise ExportDamaged(f"Line {number} of the export is damaged: {error}") from error
        end = _take(line, number, rows)
        if end is None:
            digest.update(text + b"\n")
    if end is None:
        raise ExportDamaged("The export is not complete: its last line is missing.")
    keys, licenses, endings = (len(each) for each in rows)
    if end != End(keys, licenses, endings, digest.hexdigest()):
        raise ExportDamaged("The export is not complete: its counts or its checksum are others than it says.")
    return Export(header.made_at, end, tuple(rows[0]), tuple(rows[1]), tuple(rows[2]))


def _take(line: _Line, number: int, rows: tuple[list[ApiKey], list[License], list[Ending]]) -> End | None:
    """Adds the row of `line` to its list; returns the End if the line is that."""
    if line.apikey is not None:
        rows[0].append(line.apikey)
    elif line.license is not None:
        rows[1].append(line.license)
    elif line.ending is not None:
        rows[2].append(line.ending)
    elif line.end is None:
        raise ExportDamaged(f"Line {number} of the export holds no row.")
    return line.end


def _unpacked(packed: bytes) -> bytes:
    if len(packed) > MAX_PACKED_BYTES:
        raise ExportDamaged(f"An export has at most {MAX_PACKED_BYTES} bytes.")
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        text = unpacker.decompress(packed, MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise ExportDamaged(f"This is no export of licenses: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise ExportDamaged("The export is not complete, or too large.")
    return text


def _lines(text: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        if end < 0:
            raise ExportDamaged("The export is not complete: its last line has no end.")
        yield text[start:end]
        start = end + 1
