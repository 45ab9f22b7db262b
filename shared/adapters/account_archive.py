"""Writes the export of an account: a zip file with each table as JSON and as CSV, in bounded memory."""

import json
import shutil
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from shared.domain.csv_text import csv_text
from shared.domain.plain_json import encode
from shared.errors import ExportTooLarge

# What a table's CSV may take in memory, while its JSON is written, before it goes to a temporary file.
SPOOLED_BYTES = 4 * 1024**2
# Zip files know no earlier time and no time zone.
_EARLIEST = (1980, 1, 1, 0, 0, 0)


class AccountArchive:
    """A zip file under way. Raises ExportTooLarge if it has more than `max_rows` or `max_bytes`."""

    def __init__(
        self, target: IO[bytes], made_at: datetime, *, max_rows: int | None, max_bytes: int | None
    ) -> None:
        self._target = target
        self._zip = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED)
        self._time = max(_EARLIEST, made_at.timetuple()[:6])
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self.rows: dict[str, int] = {}

    def __enter__(self) -> "AccountArchive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    async def add(self, name: str, pages: AsyncIterator[Sequence[Mapping[str, Any]]]) -> None:
        """Adds a table as `<name>.json`, an array of objects, and as `<name>.csv`."""
        self.rows[name] = 0
        columns: Sequence[str] = ()
        with SpooledTemporaryFile(SPOOLED_BYTES) as table:
            with self._zip.open(self._entry(f"{name}.json"), "w") as written:
                written.write(b"[")
                async for page in pages:
                    for row in page:
                        written.write(b",\n" if self.rows[name] else b"\n")
                        written.write(encode(row))
                        self.rows[name] += 1
                    text = csv_text(columns or tuple(page[0]), page, header=not columns)
                    columns = columns or tuple(page[0])
                    table.write(text.encode())
                    self._check()
                written.write(b"\n]\n")
            table.seek(0)
            with self._zip.open(self._entry(f"{name}.csv"), "w") as written:
                shutil.copyfileobj(table, written)
        self._check()

    def finish(self, about: Mapping[str, object]) -> None:
        """Adds `about.json`, which says what the file holds."""
        text = json.dumps(dict(about) | {"rows": self.rows}, indent=2)
        self._zip.writestr(self._entry("about.json"), text)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, self._time)
        entry.compress_type = zipfile.ZIP_DEFLATED
        return entry

    def _check(self) -> None:
        rows = sum(self.rows.values())
        if self._max_rows is not None and rows > self._max_rows:
            raise ExportTooLarge(f"The export has more than {self._max_rows} rows. {_ASK}")
        if self._max_bytes is not None and self._target.tell() > self._max_bytes:
            raise ExportTooLarge(f"The export has more than {self._max_bytes} bytes. {_ASK}")


_ASK = "Ask the operator for it, who can write it to a file (python -m operations.account export)."
