"""Composes the services of the business around licenses; see shared/container.py."""

from functools import cached_property

from shared.access_services import AccessServices
from shared.services.account_data import AccountDataService
from shared.services.license_admin import LicenseAdmin
from shared.services.license_export import LicenseExportService


class BusinessServices(AccessServices):
    """What sells licenses, reports on them, and keeps them safe."""

    @cached_property
    def license_admin(self) -> LicenseAdmin:
        return LicenseAdmin(self.stores.license_list, self.plans, self.now)

    @cached_property
    def account_data(self) -> AccountDataService:
        store, audit = self.stores.accounts, self.stores.audit
        return AccountDataService(store=store, licenses=self.tables, audit=audit, now=self.now)

    @cached_property
    def license_export(self) -> LicenseExportService:
        return LicenseExportService(
            store=self.tables, exports=self.exports, seal=self.credentials.seal(), count=self.counters.add
        )
