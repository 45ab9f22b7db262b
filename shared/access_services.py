"""Composes the services that admit callers, connect bots, and change licenses; see shared/container.py."""

import time
from functools import cached_property, partial

from shared import telemetry
from shared.adapter_set import Adapters
from shared.metrics import Count
from shared.services.access import AccessService
from shared.services.connected_sessions import ConnectedSessions
from shared.services.counters import Counters
from shared.services.delayed import DelayedSignals
from shared.services.endings import EndingService
from shared.services.enforcement import Enforcement
from shared.services.hub_events import HubEventService
from shared.services.license_listing import LicenseListingService
from shared.services.licenses import LicenseService
from shared.services.market_clock import MarketClock
from shared.services.misuse_counts import MisuseCounts
from shared.services.notifications import NotificationService
from shared.services.presence import Presence
from shared.services.realtime import RealtimeService
from shared.services.served_symbols import ServedSymbols
from shared.services.session_leases import SessionLeases
from shared.services.sessions import SessionService


class AccessServices(Adapters):
    """Who may do what, and who is connected."""

    @cached_property
    def counters(self) -> Counters:
        return Counters(self.redis)

    @cached_property
    def notifications(self) -> NotificationService:
        return NotificationService(self.stores.notifications)

    @cached_property
    def market_clock(self) -> MarketClock:
        return MarketClock(self.settings.market_clock, self.stores.bars, self.now)

    @cached_property
    def access(self) -> AccessService:
        return AccessService(
            pepper=self.credentials.pepper(),
            cache=self.redis,
            keys=self.tables,
            plans=self.plans,
            now=self.now,
            previous_pepper=self.credentials.previous_pepper(),
            unlimited=partial(self.counters.add, Count.LIMITER_OPEN),
            limited=self.misuse_counts.limited,
        )

    def license_service(self, actor: str) -> LicenseService:
        """A service whose changes are audited under `actor`."""
        stores = self.stores
        return LicenseService(
            store=self.tables,
            plans=self.plans,
            enforcement=self.enforcement,
            served=ServedSymbols(self.strategies.symbols, stores.bars, stores.signals),
            audit=stores.audit,
            listed=self.license_listing.note,
            actor=actor,
            pepper=self.credentials.pepper(),
            now=self.now,
        )

    @cached_property
    def endings(self) -> EndingService:
        return EndingService(
            store=self.tables,
            enforcement=self.enforcement,
            audit=self.stores.jobs_audit,
            listed=self.license_listing.note,
            actor="timer",
        )

    @cached_property
    def license_listing(self) -> LicenseListingService:
        return LicenseListingService(self.tables, self.stores.license_list, self.plans, self.now)

    @cached_property
    def enforcement(self) -> Enforcement:
        return Enforcement(self.redis, self.realtime, self.session_store, self.plans)

    @cached_property
    def presence(self) -> Presence:
        return Presence(
            store=self.stores.connections,
            licenses=self.tables,
            plans=self.plans,
            hub=self.hub,
            clock=time.monotonic,
            count=self.counters.add,
        )

    @cached_property
    def realtime(self) -> RealtimeService:
        return RealtimeService(
            hub=self.hub,
            outbox=self.stores.outbox,
            sequences=self.stores.signals,
            delayed=DelayedSignals(hub=self.hub, feeds=self.stores.delayed, universe=self.strategies.symbols),
            now=self.now,
            universe=self.strategies.symbols,
            count=self.counters.add,
            published=telemetry.publish_latency.record,
        )

    @cached_property
    def hub_events(self) -> HubEventService:
        proof, count = self.credentials.event_proof(), self.counters.add
        return HubEventService(
            proof=proof,
            keys=self.tables,
            plans=self.plans,
            presence=self.presence,
            sessions=self.leases,
            now=self.now,
            count=count,
        )

    @cached_property
    def leases(self) -> SessionLeases:
        return SessionLeases(self.session_store, clock=time.monotonic, count=self.counters.add)

    @cached_property
    def sessions(self) -> SessionService:
        return SessionService(
            store=self.session_store,
            leases=self.leases,
            connections=self.realtime,
            licenses=self.tables,
            plans=self.plans,
            audit=self.stores.audit,
            tell=self.notifications.tell,
            fought=self.misuse_counts.fought,
            now=self.now,
            count=self.counters.add,
        )

    @cached_property
    def connected_sessions(self) -> ConnectedSessions:
        return ConnectedSessions(
            store=self.stores.connections,
            leases=self.leases,
            hub=self.hub,
            close_group=self.realtime.close_group,
        )

    @cached_property
    def misuse_counts(self) -> MisuseCounts:
        # Not the store itself: the first request must not wait for the import of the database's driver.
        return MisuseCounts(
            store=lambda: self.stores.misuse,
            secret=self.credentials.pepper(),
            now=self.now,
        )
