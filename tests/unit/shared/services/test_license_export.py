"""The nightly export: what it holds while others change rows, where it goes, and what an outage does."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.access.exports import read_export
from shared.domain.access.licenses import ApiKey, License
from shared.domain.access.plans import Overrides
from shared.errors import KeyStoreUnavailable
from shared.services.license_export import LicenseExportService, packed_export
from tests.support.access_fakes import FakeExports, FakeKeyStore

NOW = datetime(2026, 11, 28, 2, 17, tzinfo=UTC)


def a_license(number: int) -> License:
    return License(
        license_id=f"lic_Ab{number:010}", account_id="a", overrides=Overrides(symbols=("ES",)), created_at=NOW
    )


def a_key(number: int) -> ApiKey:
    owner = a_license(number).license_id
    return ApiKey(
        public_id=f"Ab{number:04}", key_hash="0" * 64, license_id=owner, scopes=("bot",), created_at=NOW
    )


class BusyStore(FakeKeyStore):
    """A license and its key are made while the export reads."""

    async def key_pages(self) -> AsyncIterator[list[ApiKey]]:
        async for page in super().key_pages():
            yield page
            number = len(self.licenses) + 1
            self.licenses[a_license(number).license_id] = a_license(number)
            self.keys[a_key(number).public_id] = a_key(number)


def service(
    store: FakeKeyStore, exports: FakeExports, counts: list[str], *, sealed: bool = True
) -> LicenseExportService:
    def seal(packed: bytes) -> bytes:
        return b"sealed" + packed

    def count(name: str, count: int = 1) -> None:
        counts.append(name)

    return LicenseExportService(store=store, exports=exports, seal=seal if sealed else None, count=count)


async def test_each_exported_key_has_its_license_whatever_is_made_meanwhile() -> None:
    store = BusyStore()
    store.licenses[a_license(1).license_id] = a_license(1)
    store.keys[a_key(1).public_id] = a_key(1)
    packed, end = await packed_export(store, NOW)
    found = read_export(packed)
    assert {key.license_id for key in found.apikeys} <= {each.license_id for each in found.licenses}
    assert (end.apikeys, end.licenses) == (1, 2)


@pytest.mark.parametrize(
    ("day", "places"), [(1, ["daily", "monthly"]), (3, ["daily", "monthly"]), (4, ["daily"])]
)
async def test_the_first_days_of_a_month_leave_an_export_for_a_year_too(day: int, places: list[str]) -> None:
    exports = FakeExports()
    counts: list[str] = []
    names = await service(FakeKeyStore(), exports, counts).run(NOW.replace(day=day))
    assert [name.split("/")[0] for name in names] == places
    assert [*exports.blobs] == names
    assert len(set(exports.blobs.values())) == 1
    assert counts == ["license_exports"]


async def test_names_sort_by_time_and_a_second_run_changes_nothing() -> None:
    exports = FakeExports()
    for later in range(3):
        await service(FakeKeyStore(), exports, []).run(NOW + timedelta(seconds=later // 2))
    assert [*exports.blobs] == sorted(exports.blobs, key=lambda name: name[:24])
    assert len(exports.blobs) == 3


@pytest.mark.parametrize("away", ["tables", "exports"])
async def test_an_outage_is_raised_and_not_counted(away: str) -> None:
    store, exports, counts = FakeKeyStore(), FakeExports(), list[str]()
    store.away, exports.away = away == "tables", away == "exports"
    with pytest.raises(KeyStoreUnavailable):
        await service(store, exports, counts).run(NOW)
    assert (exports.blobs, counts) == ({}, [])


async def test_a_deployment_without_a_key_exports_nothing() -> None:
    exports, counts = FakeExports(), list[str]()
    assert await service(FakeKeyStore(), exports, counts, sealed=False).run(NOW) == []
    assert (exports.blobs, counts) == ({}, [])
