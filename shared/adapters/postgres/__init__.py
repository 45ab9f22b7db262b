"""Postgres: one pool, and one store for each thing that lies in it. The SQL is in shared/sql."""

from shared.adapters.postgres.audit import Audit
from shared.adapters.postgres.bars import BarStore
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.models import ModelStore
from shared.adapters.postgres.outbox import Outbox
from shared.adapters.postgres.signals import SignalStore
from shared.adapters.postgres.trades import TradeStore
from shared.adapters.postgres.upkeep import Upkeep

__all__ = [
    "Audit",
    "BarStore",
    "Database",
    "ModelStore",
    "Outbox",
    "SignalStore",
    "TradeStore",
    "Upkeep",
]
