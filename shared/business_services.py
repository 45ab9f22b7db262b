"""Composes the services of the business around licenses; see shared/container.py."""

from functools import cached_property

from shared.key_services import KeyServices
from shared.services.account_data import AccountDataService
from shared.services.license_admin import LicenseAdmin
from shared.services.license_export import LicenseExportService
from shared.services.payment_inbox import PaymentInbox
from shared.services.payments import PaymentService


class BusinessServices(KeyServices):
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

    @cached_property
    def payment_inbox(self) -> PaymentInbox:
        from shared.adapters.payment_signatures import StripeSignatures, WhopSignatures

        chosen = self.settings.payments
        return PaymentInbox(
            store=self.stores.payments,
            stripe=StripeSignatures(chosen.stripe_secrets),
            whop=WhopSignatures(chosen.whop_secrets),
            live=chosen.mode == "live",
            now=self.now,
            count=self.counters.add,
        )

    @cached_property
    def payments(self) -> PaymentService:
        return PaymentService(
            store=self.stores.payments,
            reader=self.tables,
            licenses=self.license_service("payments", jobs=True),
            plans=self.plans,
            products=self.settings.payments.plans,
            tell=self.notifications.tell,
            now=self.now,
            count=self.counters.add,
        )
