"""Measures the list of licenses with 10,000 of them: `python -m loadtests.bench.license_list`.

Starts a PostgreSQL of its own. Each figure is the median of `ROUNDS` calls, in milliseconds.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from local.stack.embedded_postgres import EmbeddedPostgres
from local.stack.ports import free_ports
from shared.adapters.plans import shipped_plans
from shared.adapters.postgres import Database
from shared.adapters.postgres.license_list import LicenseList
from shared.adapters.postgres.migrations import migrate
from shared.domain.access.bulk import BulkRequest
from shared.domain.access.license_filter import LicenseFilter
from shared.domain.access.licenses import License
from shared.services.license_admin import LicenseAdmin
from shared.services.license_listing import LicenseListingService

LICENSES = 10_000
ROUNDS = 7
NOW = datetime.now(UTC)
_PLANS = ("standard", "starter", "pro", "free")


def licenses() -> list[License]:
    return [
        License(
            license_id=f"lic_{number:012d}",
            account_id=f"acct-{number}",
            plan=_PLANS[number % len(_PLANS)],
            expires_at=NOW + timedelta(hours=number),
            reference=f"order {number}",
            email=f"holder-{number}@example.com",
            notes="pays by invoice" if number % 10 == 0 else "",
            created_at=NOW - timedelta(days=30, minutes=number),
        )
        for number in range(LICENSES)
    ]


class Source:
    """Licenses as Table Storage would page them."""

    def __init__(self) -> None:
        self.licenses = licenses()

    async def license_pages(self) -> AsyncIterator[list[License]]:
        for start in range(0, len(self.licenses), 1_000):
            yield self.licenses[start : start + 1_000]

    async def get_license(self, license_id: str) -> License | None:
        return None


async def measured(work: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        await work()
        times.append((time.perf_counter() - begun) * 1_000)
    return statistics.median(times)


async def run(url: str) -> dict[str, float]:
    await migrate(url)
    database = Database(url, role="signal_functions", pool_size=4)
    listed, plans, source = LicenseList(database), shipped_plans(), Source()
    admin = LicenseAdmin(listed, plans, lambda: NOW)
    listing = LicenseListingService(source, listed, plans, lambda: NOW)
    begun = time.perf_counter()
    await listing.run()
    figures = {"first listing of all": (time.perf_counter() - begun) * 1_000}

    async def page(**values: object) -> object:
        chosen = msgspec.convert(values, LicenseFilter)
        return await admin.page(chosen, "expires", descending=False, cursor=None, limit=100)

    async def bulk() -> object:
        asked = BulkRequest(filter=LicenseFilter(status="active"), action="extend", days=30)
        report = await admin.bulk(asked, None)  # type: ignore[arg-type]  # a dry run changes nothing
        assert report.changed > LICENSES * 0.9, report.changed
        return msgspec.json.encode(report)

    figures["timer with nothing new"] = await measured(listing.run)
    figures["list, page of 100"] = await measured(page)
    figures["filter by plan"] = await measured(lambda: page(plan="pro"))
    figures["filter by symbol"] = await measured(lambda: page(symbol="CL"))
    figures["filter by text"] = await measured(lambda: page(text="invoice"))
    figures["filter by expiry"] = await measured(lambda: page(expiring_within_days=30))
    figures["all as CSV"] = await measured(lambda: admin.table(LicenseFilter(), "id", descending=False))
    figures["bulk dry run of all"] = await measured(bulk)
    await database.close()
    return figures


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        server = EmbeddedPostgres(Path(directory) / "postgres", free_ports(1)[0])
        try:
            figures = asyncio.run(run(server.start()))
        finally:
            server.stop()
    lines = [f"{name:<26} {value:8.0f} ms\n" for name, value in figures.items()]
    sys.stdout.write("".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
