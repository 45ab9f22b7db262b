"""The export of licenses on a real Azurite: tables in, one sealed blob out, again and again."""

import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from azure.storage.blob.aio import BlobServiceClient

from shared.adapters import export_blobs
from shared.adapters.export_blobs import CONTAINER, ExportBlobs
from shared.adapters.sealing import new_private_key, public_key_of, seal, unseal
from shared.adapters.tables import LicenseTables
from shared.domain.access.endings import Ending
from shared.domain.access.exports import read_export
from shared.domain.access.licenses import ApiKey, License
from shared.errors import Conflict, KeyStoreUnavailable, NotFound
from shared.services.license_export import LicenseExportService
from tests.support.license_rows import numbered_key, numbered_license

NOW = datetime(2026, 11, 28, 2, 17, tzinfo=UTC)
PRIVATE = new_private_key()


@pytest.fixture
async def tables(tables_connection_string: str) -> AsyncIterator[LicenseTables]:
    made = LicenseTables(tables_connection_string)
    yield made
    await made.close()


@pytest.fixture
async def blobs(azurite_connection_string: str) -> AsyncIterator[ExportBlobs]:
    """The exports of an account that has no container yet."""
    async with BlobServiceClient.from_connection_string(azurite_connection_string) as account:
        if [each.name async for each in account.list_containers()]:
            await account.delete_container(CONTAINER)
    made = ExportBlobs(azurite_connection_string)
    yield made
    await made.close()


def service(tables: LicenseTables, blobs: ExportBlobs) -> LicenseExportService:
    sealing = partial(seal, public_key=public_key_of(PRIVATE))
    return LicenseExportService(store=tables, exports=blobs, seal=sealing, count=lambda name, count=1: None)


async def test_everything_comes_back_from_the_newest_blob(tables: LicenseTables, blobs: ExportBlobs) -> None:
    for number in range(5):
        await tables.add_license(numbered_license(number))
        await tables.add_keys([numbered_key(number)])
    ending = Ending(NOW + timedelta(days=30), numbered_license(1).license_id)
    await tables.add_endings([ending])
    await service(tables, blobs).run(NOW - timedelta(days=1))
    (name,) = await service(tables, blobs).run(NOW)
    names = await blobs.names("daily/")
    assert (len(names), names[-1]) == (2, name)
    sealed = await blobs.read(name)
    assert b"acct-1" not in sealed
    found = read_export(unseal(sealed, [PRIVATE]))
    assert sorted(found.licenses, key=str) == sorted(map(numbered_license, range(5)), key=str)
    assert sorted(found.apikeys, key=str) == sorted(map(numbered_key, range(5)), key=str)
    assert found.endings == (ending,)


async def test_tables_that_were_never_made_are_an_empty_export(
    tables: LicenseTables, blobs: ExportBlobs
) -> None:
    (name,) = await service(tables, blobs).run(NOW)
    assert read_export(unseal(await blobs.read(name), [PRIVATE])).end.licenses == 0


async def test_a_blob_is_never_overwritten(blobs: ExportBlobs) -> None:
    await blobs.add("daily/one", b"first")
    with pytest.raises(Conflict):
        await blobs.add("daily/one", b"second")
    assert await blobs.read("daily/one") == b"first"
    with pytest.raises(NotFound):
        await blobs.read("daily/two")


async def test_an_outage_and_an_account_without_blobs_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_blobs, "RETRIES", 0)
    for address in (
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;BlobEndpoint=http://127.0.0.1:1/a;",
        "DefaultEndpointsProtocol=http;AccountKey=YQ==;TableEndpoint=http://127.0.0.1:1/a;",
    ):
        blobs = ExportBlobs(address)
        with pytest.raises(KeyStoreUnavailable):
            await blobs.names()
        await blobs.close()


async def test_ten_thousand_licenses_take_bounded_memory_and_time(
    blobs: ExportBlobs, capsys: pytest.CaptureFixture[str]
) -> None:
    class Many:
        """Pages as Table Storage gives them."""

        async def license_pages(self) -> AsyncIterator[list[License]]:
            for first in range(0, 10_000, 1_000):
                yield [numbered_license(number) for number in range(first, first + 1_000)]

        async def key_pages(self) -> AsyncIterator[list[ApiKey]]:
            for first in range(0, 20_000, 1_000):
                yield [numbered_key(number) for number in range(first, first + 1_000)]

        async def ending_pages(self) -> AsyncIterator[list[Ending]]:
            yield []

    exporting = LicenseExportService(
        store=Many(), exports=blobs, seal=partial(seal, public_key=public_key_of(PRIVATE)),
        count=lambda name, count=1: None,
    )  # fmt: skip
    await blobs.add("daily/0", b"makes the container, and imports the SDK")
    tracemalloc.start()
    started = time.perf_counter()
    (name,) = await exporting.run(NOW)
    took_s, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = len(await blobs.read(name))
    with capsys.disabled():
        print(
            f"\n10,000 licenses, 20,000 keys: {took_s:.1f} s, peak {peak / 1e6:.1f} MB, {size / 1e6:.2f} MB"
        )
    assert peak < 40e6
    assert took_s < 60
