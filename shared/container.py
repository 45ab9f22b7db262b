"""The composition root: builds adapters and services lazily, once per event loop.

The platform offers no start-up or shut-down hook, and imports the app inside a running loop: so nothing
is built at import, what a first request does not need is not loaded, and nothing relies on being closed.
Clients are bound to the loop that they first ran in; a test or a worker with another loop gets its own.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from shared import telemetry
from shared.domain.bars import FeedState
from shared.domain.feeds import FeedHealth, feed_states, market_now
from shared.domain.strategies import all_strategies
from shared.services.counters import LIMITER_OPEN, Counters
from shared.settings import Settings, current_settings
from shared.version import VERSION

# The relay runs every few seconds: what is older than this is not just waiting for its turn.
MAX_OUTBOX_AGE_S = 30.0
MIN_CALENDAR_DAYS = 60

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from shared.adapters.postgres import (
        BarStore,
        Database,
        ModelStore,
        Outbox,
        SignalStore,
        TradeStore,
        Upkeep,
    )
    from shared.adapters.redis import RedisStore
    from shared.adapters.tables import LicenseTables
    from shared.adapters.web_pubsub import WebPubSubHub
    from shared.credentials import Credentials
    from shared.domain.sessions import Sessions
    from shared.services.access import AccessService
    from shared.services.confidence import ConfidenceService
    from shared.services.health import Finding, ReadinessService
    from shared.services.hub_events import HubEventService
    from shared.services.licenses import LicenseService
    from shared.services.measurements import Measurements
    from shared.services.realtime import RealtimeService
    from shared.services.signal_engine import SignalEngine
    from shared.services.signals import SignalService
    from shared.services.status import StatusService
    from shared.services.trades import TradeService
    from shared.services.training import TrainingService


class Container:
    """One event loop's adapters and services, each made on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)

    async def market_now(self) -> datetime:
        """The time the market is judged by: the wall clock, or in a replay the newest bar's close."""
        clock = self.settings.market_clock
        feeds = await self.bar_store.feeds() if clock == "bars" else []
        return market_now(feeds, self.now(), clock)

    @cached_property
    def universe(self) -> tuple[str, ...]:
        """Every symbol that some strategy is for."""
        symbols = (symbol for strategy in all_strategies().values() for symbol in strategy.symbols)
        return tuple(dict.fromkeys(symbols))

    @cached_property
    def credentials(self) -> "Credentials":
        from shared.credentials import Credentials

        return Credentials(self.settings)

    # Adapters

    @cached_property
    def database(self) -> "Database":
        from shared.adapters.postgres import Database

        settings = self.settings
        return Database(
            settings.database_url,
            role=settings.database_role,
            pool_size=settings.database_pool_size,
            password=self.credentials.database_password,
        )

    @cached_property
    def redis(self) -> "RedisStore":
        tokens = self.credentials.tokens
        if tokens is None:
            from shared.adapters.redis import RedisStore

            return RedisStore(self.settings.redis_url)
        from shared.adapters.identity import REDIS_SCOPE
        from shared.adapters.redis.entra import EntraRedisStore

        return EntraRedisStore(self.settings.redis_url, tokens, REDIS_SCOPE)

    @cached_property
    def tables(self) -> "LicenseTables":
        from shared.adapters.tables import LicenseTables

        settings = self.settings
        address = settings.tables_endpoint or settings.tables_connection_string
        return LicenseTables(address, self.credentials.tokens)

    @cached_property
    def hub(self) -> "WebPubSubHub":
        from shared.adapters.web_pubsub import WebPubSubHub

        settings = self.settings
        address = settings.webpubsub_endpoint or settings.webpubsub_connection_string
        return WebPubSubHub(address, settings.webpubsub_hub, self.credentials.tokens)

    @cached_property
    def sessions(self) -> "Sessions":
        from shared.adapters.market_data import sessions

        return sessions()

    @cached_property
    def bar_store(self) -> "BarStore":
        from shared.adapters.postgres import BarStore

        return BarStore(self.database)

    @cached_property
    def signal_store(self) -> "SignalStore":
        from shared.adapters.postgres import SignalStore

        return SignalStore(self.database)

    @cached_property
    def trade_store(self) -> "TradeStore":
        from shared.adapters.postgres import TradeStore

        return TradeStore(self.database)

    @cached_property
    def model_store(self) -> "ModelStore":
        from shared.adapters.postgres import ModelStore

        return ModelStore(self.database)

    @cached_property
    def outbox(self) -> "Outbox":
        from shared.adapters.postgres import Outbox

        return Outbox(self.database)

    @cached_property
    def upkeep(self) -> "Upkeep":
        from shared.adapters.postgres import Upkeep

        return Upkeep(self.database)

    # Services

    @cached_property
    def counters(self) -> Counters:
        return Counters(self.redis)

    @cached_property
    def access(self) -> "AccessService":
        from shared.services.access import AccessService

        return AccessService(
            pepper=self.credentials.pepper(),
            cache=self.redis,
            keys=self.tables,
            now=time.time,
            previous_pepper=self.credentials.previous_pepper(),
            unlimited=partial(self.counters.add, LIMITER_OPEN),
        )

    @cached_property
    def licenses(self) -> "LicenseService":
        """As timers use it; who else changes licenses says so by `license_service`."""
        return self.license_service("timer")

    def license_service(self, actor: str) -> "LicenseService":
        """A service whose changes are audited under `actor`."""
        from shared.adapters.postgres import Audit
        from shared.services.licenses import LicenseService

        return LicenseService(
            store=self.tables,
            cache=self.redis,
            connections=self.realtime,
            audit=Audit(self.database),
            actor=actor,
            pepper=self.credentials.pepper(),
            now=self.now,
        )

    async def close(self) -> None:
        """Closes every adapter that was used; for tools and tests, as the platform never tells a stop."""
        for name in ("database", "redis", "tables", "hub", "credentials"):
            if self.__dict__.get(name) is not None:
                await getattr(self, name).close()

    @cached_property
    def confidence(self) -> "ConfidenceService":
        from shared.adapters.inference import OnnxInference
        from shared.services.confidence import ConfidenceService

        return ConfidenceService(
            models=self.model_store,
            cache=self.redis,
            inference=OnnxInference(),
            clock=time.monotonic,
            evaluated=partial(self.counters.add, "confidence_computed"),
        )

    @cached_property
    def training(self) -> "TrainingService":
        from shared.adapters.training_process import TrainingProcess
        from shared.services.training import TrainingService

        return TrainingService(self.trade_store, self.model_store, TrainingProcess())

    @cached_property
    def engine(self) -> "SignalEngine":
        from shared.adapters.market_data import vwap_bounce_rules
        from shared.services.signal_engine import SignalEngine

        return SignalEngine(self.bar_store, self.sessions, vwap_bounce_rules(), self.settings.market_clock)

    @cached_property
    def realtime(self) -> "RealtimeService":
        from shared.services.realtime import RealtimeService

        return RealtimeService(
            hub=self.hub,
            outbox=self.outbox,
            sequences=self.signal_store,
            closures=self.redis,
            now=self.now,
            universe=self.universe,
            published=telemetry.publish_latency.record,
        )

    @cached_property
    def hub_events(self) -> "HubEventService":
        from shared.services.hub_events import HubEventService

        return HubEventService(
            proof=self.credentials.event_proof(), closures=self.redis, count=self.counters.add
        )

    @cached_property
    def signals(self) -> "SignalService":
        from shared.services.signals import SignalService

        return SignalService(
            store=self.signal_store,
            bars=self.bar_store,
            engine=self.engine,
            drain=self.realtime.drain,
            now=self.now,
            market_now=self.market_now,
        )

    @cached_property
    def trades(self) -> "TradeService":
        from shared.services.trades import TradeService

        return TradeService(store=self.trade_store, now=self.now)

    @cached_property
    def status(self) -> "StatusService":
        from shared.services.status import StatusService

        return StatusService(
            version=VERSION,
            outbox=self.outbox,
            signals=self.signal_store,
            bars=self.bar_store,
            models=self.model_store,
            counters=self.counters,
            strategies=tuple(all_strategies()),
            now=self.now,
            market_now=self.market_now,
            feed_health=self.feed_health,
        )

    @cached_property
    def measurements(self) -> "Measurements":
        from shared.services.measurements import Measurements

        return Measurements(self.counters, self.tables, self.status.status)

    async def refresh_measurements(self) -> None:
        """For a timer: reads again what telemetry tells of the system; raises Unavailable."""
        if self.settings.telemetry.is_on:
            await self.measurements.refresh()

    @cached_property
    def readiness(self) -> "ReadinessService":
        from shared.services.health import Check, ReadinessService

        return ReadinessService(
            {
                "database": Check(self._ask_database, "fail"),
                "key_store": Check(self.tables.ping, "fail"),
                "cache": Check(self._ask_cache, "warn"),
                "realtime": Check(self.hub.ping, "warn"),
                "outbox": Check(self._judge_outbox, "fail"),
                "feeds": Check(self._judge_feeds, "fail"),
                "calendar": Check(self._judge_calendar, "warn"),
            }
        )

    def feed_health(self, feeds: Sequence[FeedState], now: datetime) -> list[FeedHealth]:
        return feed_states(feeds, self.sessions, now)

    # Readiness: one judgement beside each dependency; what raises is away

    async def _ask_database(self) -> "Finding | None":
        from shared.adapters.postgres.migrations import pending_migrations
        from shared.services.health import Finding

        await self.database.ping()
        missing = await pending_migrations(self.settings.database_url, self.credentials.database_password)
        return Finding("fail", f"migrations missing: {', '.join(missing)}") if missing else None

    async def _ask_cache(self) -> None:
        await self.redis.ping()

    async def _judge_outbox(self) -> "Finding | None":
        from shared.services.health import Finding

        depth, oldest_s = await self.outbox.depth()
        if oldest_s <= MAX_OUTBOX_AGE_S:
            return None
        return Finding("warn", f"{depth} messages wait to be sent, the oldest for {oldest_s:.0f} s")

    async def _judge_feeds(self) -> "Finding | None":
        from shared.services.health import Finding

        feeds = await self.bar_store.feeds()
        if not feeds:
            return Finding("warn", "no bars were ever received")
        states = self.feed_health(feeds, market_now(feeds, self.now(), self.settings.market_clock))
        stale = [f"{feed.symbol} for {feed.age_s:.0f} s" for feed in states if feed.state == "stale"]
        return Finding("warn", f"no signals, stale bars: {', '.join(stale)}") if stale else None

    async def _judge_calendar(self) -> "Finding | None":
        from shared.services.health import Finding

        days = self.sessions.days_left(self.now().date())
        return (
            Finding("warn", f"the market calendar ends in {days} days") if days < MIN_CALENDAR_DAYS else None
        )


_containers: WeakKeyDictionary[asyncio.AbstractEventLoop, Container] = WeakKeyDictionary()


def container() -> Container:
    """The running loop's container, made on first use; raises ConfigurationError for bad settings."""
    return _container_of(asyncio.get_running_loop())


@lru_cache(1)  # in front of the weak dictionary: every request asks, nearly always of the same loop
def _container_of(loop: asyncio.AbstractEventLoop) -> Container:
    made = _containers.get(loop)
    if made is None:
        made = _containers[loop] = Container(current_settings())
        logging.getLogger("shared").setLevel(made.settings.log_level)
        if made.settings.telemetry.is_on:
            from shared.adapters.telemetry_start import start_later

            start_later(loop, made.settings.telemetry, lambda: made.measurements.points)
    return made
