"""Composes the services of the business around licenses; see shared/container.py."""

from functools import cached_property

from shared.access_services import AccessServices
from shared.services.account_data import AccountDataService
from shared.services.claimed_keys import ClaimedKeys
from shared.services.claims import ClaimService
from shared.services.free_test_keys import FreeTestKeys
from shared.services.key_making import KeyMaking
from shared.services.license_admin import LicenseAdmin
from shared.services.license_export import LicenseExportService
from shared.services.own_keys import OwnKeyService
from shared.services.payment_inbox import PaymentInbox
from shared.services.payments import PaymentService
from shared.services.tries import Tries


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

    @cached_property
    def tries(self) -> Tries:
        return Tries(self.redis)

    @cached_property
    def claims(self) -> ClaimService:
        pepper, previous = self.credentials.pepper(), self.credentials.previous_pepper()
        making = KeyMaking(store=self.tables, plans=self.plans, pepper=pepper, now=self.now)
        keys = ClaimedKeys(
            store=self.tables,
            making=making,
            enforcement=self.enforcement,
            audit=self.stores.audit,
            now=self.now,
        )
        return ClaimService(
            store=self.stores.claims,
            licenses=self.tables,
            plans=self.plans,
            keys=keys,
            of_mail=self.stores.claims,
            tell=self.stores.notifications.add,
            tries=self.tries,
            peppers=(pepper,) if previous is None else (pepper, previous),
            public_url=self.settings.public_url,
            now=self.now,
        )

    @cached_property
    def own_keys(self) -> OwnKeyService:
        return OwnKeyService(licenses=self.license_service, tell=self.notifications.tell, now=self.now)

    @cached_property
    def test_keys(self) -> FreeTestKeys:
        return FreeTestKeys(
            licenses=self.license_service("test keys"),
            store=self.tables,
            rows=self.stores.test_accounts,
            tries=self.tries,
            now=self.now,
        )
