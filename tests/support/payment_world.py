"""PaymentService over servers in memory."""

from collections.abc import Iterable, Sequence
from typing import Any

from shared.domain.access.licenses import Grant, License, license_id_of
from shared.domain.notifications.events import Event
from shared.domain.payments.events import PaymentEvent
from shared.services.enforcement import Enforcement
from shared.services.licenses import LicenseService
from shared.services.payments import PaymentService
from tests.support.access_fakes import Clock, FakeAudit, FakeCache, FakeHub, FakeKeyStore
from tests.support.license_plans import PLANS
from tests.support.memory_licenses import unlisted
from tests.support.memory_payments import MemoryPayments
from tests.support.memory_sessions import MemorySessions
from tests.support.memory_signals import Server
from tests.support.payment_histories import PRODUCTS, Customer


class ToldCache(FakeCache):
    """Counts how often it is told."""

    told = 0

    async def store_grants(self, grants: Iterable[tuple[str, Grant]]) -> None:
        self.told += 1
        await super().store_grants(grants)


class PaymentWorld:
    """The service over servers in memory, at the time of the customer's first event."""

    def __init__(self, products: dict[str, str] | None = None) -> None:
        self.clock = Clock()
        self.keys = FakeKeyStore()
        self.hub = FakeHub()
        self.cache = ToldCache(self.clock)
        self.server = Server(self.clock())
        self.inbox = MemoryPayments(self.server)
        self.audit = FakeAudit()
        self.told: list[Event] = []
        self.counts: dict[str, int] = {}
        self.products = dict(PRODUCTS if products is None else products)
        self.licenses = LicenseService(
            store=self.keys,
            plans=PLANS,
            enforcement=Enforcement(self.cache, self.hub, MemorySessions(), PLANS),
            served=None,  # type: ignore[arg-type]  # the symbols of plans are not checked
            audit=self.audit,
            listed=unlisted,
            actor="payments",
            pepper=b"p" * 32,
            now=self.clock,
        )
        self.service = self.made_service()

    def made_service(self, **changed: Any) -> PaymentService:
        given: dict[str, Any] = {
            "store": self.inbox,
            "reader": self.keys,
            "licenses": self.licenses,
            "plans": PLANS,
            "products": self.products,
            "tell": self.tell,
            "now": self.clock,
            "count": self.count,
        }
        return PaymentService(**given | changed)

    async def tell(self, events: Sequence[Event]) -> None:
        self.told += events

    def count(self, name: str, count: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + count

    async def deliver(self, *events: PaymentEvent) -> None:
        """Events arrive one after the other, and the timer runs after the last."""
        for event in events:
            self.clock.time = max(self.clock.time, event.at)
            await self.inbox.add(event, self.clock())
        await self.service.run()

    def license_of(self, customer: Customer) -> License:
        return self.keys.licenses[license_id_of(customer.subject)]

    @property
    def states(self) -> set[str]:
        return {row.state for row in self.inbox.rows.values() if row.kind != "ignored"}
