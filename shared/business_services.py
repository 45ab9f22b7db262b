"""Composes the services of the business around licenses; see shared/container.py."""

from functools import cached_property

from shared.access_services import AccessServices
from shared.services.license_export import LicenseExportService


class BusinessServices(AccessServices):
    """What sells licenses, reports on them, and keeps them safe."""

    @cached_property
    def license_export(self) -> LicenseExportService:
        return LicenseExportService(
            store=self.tables, exports=self.exports, seal=self.credentials.seal(), count=self.counters.add
        )
