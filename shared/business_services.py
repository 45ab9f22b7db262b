"""Composes the services of the business around licenses; see shared/container.py."""

import random
import secrets
import time
from functools import cached_property
from typing import IO, TYPE_CHECKING

from shared.key_services import KeyServices
from shared.services.account_data import MAX_EXPORT_BYTES, MAX_EXPORT_ROWS, AccountDataService
from shared.services.daily_summary import DailySummary
from shared.services.destinations import DestinationService
from shared.services.feed_watch import FeedWatch
from shared.services.license_admin import LicenseAdmin
from shared.services.license_export import LicenseExportService
from shared.services.notification_fan_out import FanOutService
from shared.services.notification_lists import NotificationLists
from shared.services.notification_receivers import Receivers
from shared.services.notification_sending import SendingService
from shared.services.payment_inbox import PaymentInbox
from shared.services.payments import PaymentService

if TYPE_CHECKING:
    from shared.adapters.account_archive import AccountArchive
    from shared.adapters.postgres.turns import AccountTurns


class BusinessServices(KeyServices):
    """What sells licenses, notifies, lists and exports licenses, and erases accounts."""

    @cached_property
    def feed_watch(self) -> FeedWatch:
        return FeedWatch(
            feeds=self.stores.bars,
            calendars=self.calendars,
            market_clock=self.market_clock,
            tell=self.notifications.tell,
        )

    @cached_property
    def fan_out(self) -> FanOutService:
        given = self.settings.notifications
        return FanOutService(
            queue=self.stores.notification_queue,
            licenses=self.tables,
            plans=self.plans,
            channels=[each for each in self.channels if each.setting in given.addresses],
            mails=bool(given.mail),
            roles=given.has_roles,
            now=self.now,
        )

    @cached_property
    def receivers(self) -> Receivers:
        given = self.settings.notifications
        return Receivers(
            senders=self.senders,
            channels=self.channels,
            addresses=given.addresses,
            templates=self.templates,
            licenses=self.tables,
            holders=self.stores.license_list,
            plans=self.plans,
            destinations=self.stores.destinations,
            opened=self.secret_box.opened,
            roles=given.discord_roles if given.has_roles else {},
            claim_url=self.claims.url_for,
            now=self.now,
        )

    @cached_property
    def sending(self) -> SendingService:
        return SendingService(
            queue=self.stores.notification_queue,
            receivers=self.receivers,
            channels=self.channels,
            now=self.now,
            monotonic=time.monotonic,
            random=random.random,
            count=self.counters.add,
        )

    @cached_property
    def destinations(self) -> DestinationService:
        return DestinationService(
            store=self.stores.destinations,
            box=self.secret_box,
            events=self.stores.notifications,
            sent=self.stores.notification_list,
            stand_in=self.settings.notifications.vendor_addresses.get("webhook", ""),
            now=self.now,
            rng=secrets.token_bytes,
        )

    @cached_property
    def notification_lists(self) -> NotificationLists:
        return NotificationLists(store=self.stores.notification_list, audit=self.stores.audit, now=self.now)

    @cached_property
    def daily_summary(self) -> DailySummary:
        return DailySummary(self.stores.summaries, self.stores.notifications)

    @cached_property
    def license_admin(self) -> LicenseAdmin:
        return LicenseAdmin(self.stores.license_list, self.plans, self.now)

    @cached_property
    def account_data(self) -> AccountDataService:
        store, audit = self.stores.accounts, self.stores.audit
        return AccountDataService(store=store, licenses=self.tables, audit=audit, now=self.now)

    def bounded_archive(self, target: IO[bytes]) -> "AccountArchive":
        """An export into `target` that fits one answer."""
        from shared.adapters.account_archive import AccountArchive

        return AccountArchive(target, self.now(), max_rows=MAX_EXPORT_ROWS, max_bytes=MAX_EXPORT_BYTES)

    @cached_property
    def export_turns(self) -> "AccountTurns":
        from shared.adapters.postgres.turns import AccountTurns

        refusal = "An export of your account is under way. Wait for its answer, then try again."
        return AccountTurns(at_once=1, waiting=0, wait_s=1, refusal=refusal)

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
            # Not by the login of the timers, whose few connections the locked subscription takes one of.
            licenses=self.license_service("payments"),
            plans=self.plans,
            products=self.settings.payments.plans,
            tell=self.notifications.tell,
            now=self.now,
            count=self.counters.add,
        )
