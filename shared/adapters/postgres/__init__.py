"""Reads and writes Postgres with one store per kind of record. SQL is in shared/sql."""

from shared.adapters.postgres.accounts import AccountStore
from shared.adapters.postgres.audit import Audit
from shared.adapters.postgres.bars import BarStore
from shared.adapters.postgres.claims import ClaimStore
from shared.adapters.postgres.connections import ConnectionStore
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.delayed import DelayedFeeds
from shared.adapters.postgres.destinations import DestinationStore
from shared.adapters.postgres.hooks import HookStore
from shared.adapters.postgres.license_list import LicenseList
from shared.adapters.postgres.misuse import MisuseStore
from shared.adapters.postgres.models import ModelStore
from shared.adapters.postgres.notification_events import NotificationEvents
from shared.adapters.postgres.notification_list import NotificationList
from shared.adapters.postgres.notification_queue import NotificationQueue
from shared.adapters.postgres.outbox import Outbox
from shared.adapters.postgres.payments import PaymentStore
from shared.adapters.postgres.performance import PerformanceStore
from shared.adapters.postgres.pools import Pools
from shared.adapters.postgres.signals import SignalStore
from shared.adapters.postgres.summaries import SummaryStore
from shared.adapters.postgres.suspicions import SuspicionStore
from shared.adapters.postgres.test_licenses import AccountsOfTests
from shared.adapters.postgres.trades import TradeStore
from shared.adapters.postgres.training import TrainingStore
from shared.adapters.postgres.upkeep import Upkeep

__all__ = [
    "AccountStore",
    "AccountsOfTests",
    "Audit",
    "BarStore",
    "ClaimStore",
    "ConnectionStore",
    "Database",
    "DelayedFeeds",
    "DestinationStore",
    "HookStore",
    "LicenseList",
    "MisuseStore",
    "ModelStore",
    "NotificationEvents",
    "NotificationList",
    "NotificationQueue",
    "Outbox",
    "PaymentStore",
    "PerformanceStore",
    "Pools",
    "SignalStore",
    "Stores",
    "SummaryStore",
    "SuspicionStore",
    "TradeStore",
    "TrainingStore",
    "Upkeep",
]


class Stores:
    """Every store over the pool of its kind of work."""

    def __init__(self, pools: Pools) -> None:
        database = pools.main
        self.accounts = AccountStore(database)
        self.audit = Audit(database)
        self.jobs_audit = Audit(database, jobs=True)
        self.bars = BarStore(database)
        self.claims = ClaimStore(database)
        self.connections = ConnectionStore(pools.connections)
        self.delayed = DelayedFeeds(database)
        self.hooks = HookStore(database)
        self.license_list = LicenseList(database)
        self.misuse = MisuseStore(database)
        self.models = ModelStore(database)
        self.destinations = DestinationStore(database)
        self.notifications = NotificationEvents(database)
        self.notification_list = NotificationList(database)
        self.notification_queue = NotificationQueue(database)
        self.outbox = Outbox(database)
        self.payments = PaymentStore(database)
        self.performance = PerformanceStore(pools.costly)
        self.signals = SignalStore(database)
        self.summaries = SummaryStore(database)
        self.suspicions = SuspicionStore(database)
        self.test_accounts = AccountsOfTests(database)
        self.trades = TradeStore(database)
        self.training = TrainingStore(database)
        self.upkeep = Upkeep(database)
