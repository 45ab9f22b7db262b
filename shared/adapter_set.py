"""Builds the adapters of one event loop, each on first use; shared/container.py adds the services.

The platform has no start-up or shut-down hook, and imports the app inside a running loop. So importing builds
nothing, modules that a first request does not need are loaded later, and no adapter relies on being closed.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from shared.adapters.calendars import market_calendars
from shared.adapters.strategies import shipped_strategies
from shared.credentials import Credentials
from shared.domain.confidence.strategy import StrategyCatalog
from shared.domain.market.calendars import MarketCalendars
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.adapters.postgres import Database, Stores
    from shared.adapters.redis import RedisStore
    from shared.adapters.tables import LicenseTables
    from shared.adapters.web_pubsub import WebPubSubHub


class Adapters:
    """What the app reaches outside of itself, as the settings say."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)

    async def close(self) -> None:
        """Closes every adapter that was used; for tools and tests, because the platform announces no stop."""
        for name in ("database", "costly_database", "redis", "tables", "hub", "credentials"):
            if self.__dict__.get(name) is not None:
                await getattr(self, name).close()

    @cached_property
    def credentials(self) -> Credentials:
        return Credentials(self.settings)

    @cached_property
    def strategies(self) -> StrategyCatalog:
        return shipped_strategies()

    @cached_property
    def calendars(self) -> MarketCalendars:
        return market_calendars()

    @cached_property
    def database(self) -> "Database":
        from shared.adapters.postgres.database import JOBS_POOL_SIZE, JOBS_ROLE, Database

        settings, jobs = self.settings, None
        if settings.jobs_database_url:
            password = self.credentials.jobs_database_password
            url = settings.jobs_database_url
            jobs = Database(url, role=JOBS_ROLE, pool_size=JOBS_POOL_SIZE, password=password)
        return Database(
            settings.database_url,
            role=settings.database_role,
            pool_size=settings.database_pool_size,
            password=self.credentials.database_password,
            jobs=jobs,
        )

    @cached_property
    def costly_database(self) -> "Database":
        """A small pool for costly queries, so that they take no connection from other requests."""
        from shared.adapters.postgres import Database
        from shared.adapters.postgres.performance import COSTLY_POOL_SIZE

        return Database(
            self.settings.database_url,
            role=self.settings.database_role,
            pool_size=COSTLY_POOL_SIZE,
            idle_size=0,
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

        return LicenseTables(self.settings.tables_address, self.credentials.tokens)

    @cached_property
    def hub(self) -> "WebPubSubHub":
        from shared.adapters.web_pubsub import WebPubSubHub

        address, hub = self.settings.webpubsub_address, self.settings.webpubsub_hub
        return WebPubSubHub(address, hub, self.credentials.tokens)

    @cached_property
    def stores(self) -> "Stores":
        from shared.adapters.postgres import Stores

        return Stores(self.database, self.costly_database)
