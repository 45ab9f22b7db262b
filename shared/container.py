"""Composes the app: builds services on their adapters lazily, once per event loop.

shared/adapter_set.py builds the adapters. shared/access_services.py has the services that admit and connect,
shared/key_services.py those that give keys to holders, shared/business_services.py those that sell, notify
and report, and this module those of the market and of operation. Clients are bound to the loop that they
first ran in; a test or a worker with another loop gets its own.
"""

import asyncio
import logging
import time
from functools import cached_property, lru_cache, partial
from weakref import WeakKeyDictionary

from shared.adapters.telemetry_start import start_later
from shared.business_services import BusinessServices
from shared.domain.access.test_licenses import stream_publisher
from shared.domain.confidence.market_state import StateReader
from shared.domain.limits import MAX_REPORT_AGE
from shared.metrics import Count
from shared.services.bars import BarService
from shared.services.confidence import ConfidenceService
from shared.services.evaluator import ConfidenceEvaluator
from shared.services.health import DependencyChecks, ReadinessService
from shared.services.hook_registry import HookRegistry
from shared.services.hooks import HookService
from shared.services.measurements import Measurements
from shared.services.misuse import MisuseService
from shared.services.models import ModelService
from shared.services.region import RegionService
from shared.services.settlement import SettlementService
from shared.services.signal_engine import SignalEngine
from shared.services.signals import SignalService
from shared.services.status import StatusService
from shared.services.stream_of_tests import StreamOfTestSignals
from shared.services.suspicions import SuspicionService
from shared.services.trades import TradeService
from shared.services.training import TrainingService
from shared.services.upkeep import UpkeepService
from shared.settings import current_settings
from shared.strategies.vwap_bounce.entry_rules import entry_rules


class Container(BusinessServices):
    """One event loop's adapters and services, each built on first use."""

    @cached_property
    def confidence(self) -> ConfidenceService:
        return ConfidenceService(
            states=StateReader(self.strategies),
            published=self.stores.signals.published_among,
            evaluator=self.evaluator,
            release=self.access.release,
            count=self.counters.add,
        )

    @cached_property
    def evaluator(self) -> ConfidenceEvaluator:
        from shared.adapters.inference import OnnxInference

        return ConfidenceEvaluator(
            strategies=self.strategies,
            models=self.stores.models,
            cache=self.redis,
            inference=OnnxInference(),
            clock=time.monotonic,
            evaluated=partial(self.counters.add, Count.CONFIDENCE_COMPUTED),
        )

    @cached_property
    def training(self) -> TrainingService:
        from shared.adapters.training_process import TrainingProcess

        stores, trainer, count = self.stores, TrainingProcess(), self.counters.add
        outcomes, models, catalog = stores.training, stores.models, self.strategies
        return TrainingService(
            strategies=catalog, outcomes=outcomes, models=models, trainer=trainer, count=count
        )

    def model_service(self, actor: str) -> ModelService:
        """A service whose changes are audited under `actor`."""
        return ModelService(models=self.stores.models, audit=self.stores.audit, actor=actor)

    @cached_property
    def settlement(self) -> SettlementService:
        return SettlementService(self.stores.training, self.strategies, self.calendars)

    @cached_property
    def misuse(self) -> MisuseService:
        return MisuseService(self.stores.misuse, self.now)

    @cached_property
    def suspicions(self) -> SuspicionService:
        return SuspicionService(self.stores.suspicions, self.now)

    @cached_property
    def engine(self) -> SignalEngine:
        rules = entry_rules(self.strategies["vwap_bounce"])
        return SignalEngine(self.stores.bars, self.calendars, rules, self.settings.market_clock)

    @cached_property
    def signals(self) -> SignalService:
        return SignalService(
            store=self.stores.signals,
            visible=self.stores.delayed,
            push=self.realtime.push,
            now=self.now,
            market_clock=self.market_clock,
            calendars=self.calendars,
            count=self.counters.add,
        )

    @cached_property
    def hooks(self) -> HookService:
        from shared.adapters.alert_mappings import shipped_address_lists, shipped_mappings

        return HookService(
            admit=self.access.admit,
            hooks=self.stores.hooks,
            last=self.stores.signals,
            publish=self.signals.publish,
            mappings=shipped_mappings(),
            address_lists=shipped_address_lists(),
            now=self.now,
        )

    def hook_registry(self, actor: str) -> HookRegistry:
        """A service whose changes are audited under `actor`."""
        from shared.adapters.alert_mappings import shipped_address_lists, shipped_mappings

        return HookRegistry(
            secrets=self.license_service(actor),
            licenses=self.tables,
            plans=self.plans,
            store=self.stores.hooks,
            mappings=shipped_mappings(),
            address_lists=shipped_address_lists(),
            audit=self.stores.audit,
            actor=actor,
            public_url=self.settings.public_url,
            now=self.now,
        )

    @cached_property
    def test_stream(self) -> StreamOfTestSignals:
        return StreamOfTestSignals(self.signals.publish, stream_publisher(self.plans))

    @cached_property
    def bars(self) -> BarService:
        return BarService(
            bars=self.stores.bars,
            engine=self.engine,
            calendars=self.calendars,
            push=self.realtime.push,
            now=self.now,
            count=self.counters.add,
        )

    @cached_property
    def trades(self) -> TradeService:
        # A replay's bots report trades of the time of its bars.
        max_age = None if self.settings.market_clock == "bars" else MAX_REPORT_AGE
        return TradeService(
            store=self.stores.trades,
            figures=self.stores.performance,
            strategies=self.strategies,
            published=self.stores.signals.published_among,
            max_age=max_age,
            now=self.now,
            count=self.counters.add,
        )

    @cached_property
    def status(self) -> StatusService:
        return StatusService(
            outbox=self.stores.outbox,
            payments=self.stores.payments,
            signals=self.stores.signals,
            bars=self.stores.bars,
            models=self.stores.models,
            counters=self.counters,
            strategies=tuple(self.strategies),
            calendars=self.calendars,
            now=self.now,
            market_clock=self.market_clock,
        )

    @cached_property
    def measurements(self) -> Measurements:
        is_on = self.settings.telemetry.is_on
        return Measurements(self.counters, self.tables, self.status.status, is_read=is_on)

    @cached_property
    def upkeep(self) -> UpkeepService:
        return UpkeepService(
            self.stores.upkeep,
            self.realtime.relay,
            self.measurements.refresh,
            self.test_keys.remove_ended,
        )

    @cached_property
    def readiness(self) -> ReadinessService:
        rules = DependencyChecks(
            database=self.pools.main,
            key_store=self.tables,
            cache=self.redis,
            hub=self.hub,
            outbox=self.stores.outbox,
            feeds=self.stores.bars,
            calendars=self.calendars,
            market_clock=self.market_clock,
            now=self.now,
        )
        return ReadinessService(rules.checks())

    @cached_property
    def region(self) -> RegionService:
        return RegionService(self.pools.main)


_containers: WeakKeyDictionary[asyncio.AbstractEventLoop, Container] = WeakKeyDictionary()


def container() -> Container:
    """The running loop's container, built on first use; raises ConfigurationError for bad settings."""
    return _container_of(asyncio.get_running_loop())


@lru_cache(1)  # faster than the weak dictionary; nearly all requests run in the same loop
def _container_of(loop: asyncio.AbstractEventLoop) -> Container:
    made = _containers.get(loop)
    if made is None:
        made = _containers[loop] = Container(current_settings())
        logging.getLogger("shared").setLevel(made.settings.log_level)
        if made.settings.telemetry.is_on:
            start_later(loop, made.settings.telemetry, lambda: made.measurements.points)
    return made
