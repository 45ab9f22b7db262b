"""An export comes out as it went in, or is refused."""

import gzip
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from shared.domain.access import exports
from shared.domain.access.endings import Ending
from shared.domain.access.exports import ExportWriter, read_export
from shared.domain.access.licenses import ApiKey, License
from shared.domain.access.plans import Overrides
from shared.errors import ExportDamaged, InternalError

NOW = datetime(2026, 11, 28, 2, 17, tzinfo=UTC)
LICENSE = License(
    license_id="lic_Ab0000000000", account_id="a", overrides=Overrides(symbols=("ES", "NQ")), created_at=NOW
)
KEY = ApiKey(
    public_id="Ab0001",
    key_hash="0" * 64,
    license_id=LICENSE.license_id,
    scopes=("bot",),
    created_at=NOW,
    expires_at=NOW + timedelta(days=1),
    revision=3,
)
ENDING = Ending(NOW + timedelta(days=1), "Ab0001")


def packed() -> bytes:
    writer = ExportWriter(NOW)
    writer.add_keys([KEY])
    writer.add_licenses([LICENSE])
    writer.add_endings([ENDING])
    return writer.finish()[0]


def test_what_goes_in_comes_out() -> None:
    found = read_export(packed())
    assert (found.made_at, found.apikeys, found.licenses, found.endings) == (
        NOW,
        (KEY,),
        (LICENSE,),
        (ENDING,),
    )
    assert (found.end.apikeys, found.end.licenses, found.end.endings) == (1, 1, 1)


def test_the_format_is_the_documented_one() -> None:
    lines = [msgspec.json.decode(line) for line in gzip.decompress(packed()).splitlines()]
    assert lines[0] == {"format": "signal-cloud-licenses", "version": 2, "made_at": "2026-11-28T02:17:00Z"}
    assert [next(iter(line)) for line in lines[1:]] == ["apikey", "license", "ending", "end"]
    assert lines[2]["license"]["overrides"]["symbols"] == ["ES", "NQ"]


def test_an_empty_store_makes_an_export_too() -> None:
    assert read_export(ExportWriter(NOW).finish()[0]).end.licenses == 0


def changed(text: bytes, old: bytes, new: bytes) -> bytes:
    assert old in text
    return gzip.compress(text.replace(old, new))


def test_what_is_damaged_is_refused() -> None:
    whole = packed()
    text = gzip.decompress(whole)
    lines = text.splitlines(keepends=True)
    for bad in (
        b"",
        b"no gzip",
        whole[:-9],
        whole + b"more",
        gzip.compress(b"".join(lines[:-1])),
        gzip.compress(text[:-1]),
        gzip.compress(text + lines[1]),
        gzip.compress(b"".join([lines[0], *lines[2:]])),
        changed(text, b'"ES"', b'"CL"'),
        changed(text, b'"licenses":1', b'"licenses":2'),
        changed(text, b'"version":2', b'"version":3'),
        changed(text, b"signal-cloud-licenses", b"another"),
        changed(text, b'{"ending"', b'{"other"'),
        changed(text, b'"scopes":["bot"]', b'"scopes":["root"]'),
        gzip.compress(b"".join([*lines[:-1], b"{}\n", lines[-1]])),
    ):
        with pytest.raises(ExportDamaged):
            read_export(bad)


def test_an_export_is_bounded_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = packed()
    monkeypatch.setattr(exports, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(ExportDamaged, match="too large"):
        read_export(whole)
    monkeypatch.setattr(exports, "MAX_PACKED_BYTES", 100)
    with pytest.raises(ExportDamaged, match="at most"):
        read_export(whole)
    with pytest.raises(InternalError):
        packed()
