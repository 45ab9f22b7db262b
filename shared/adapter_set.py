"""Builds the adapters of one event loop, each on first use; shared/container.py adds the services.

The platform has no start-up or shut-down hook, and imports the app inside a running loop. So importing builds
nothing, modules that a first request does not need are loaded later, and no adapter relies on being closed.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from shared.adapters.calendars import market_calendars
from shared.adapters.notifications.files import shipped_channels, shipped_templates
from shared.adapters.plans import shipped_plans
from shared.adapters.strategies import shipped_strategies
from shared.credentials import Credentials
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.confidence.strategy import StrategyCatalog
from shared.domain.market.calendars import MarketCalendars
from shared.domain.notifications.channels import ChannelCatalog
from shared.domain.notifications.messages import Templates
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.adapters.export_blobs import ExportBlobs
    from shared.adapters.notifications.secret_box import SecretBox
    from shared.adapters.notifications.senders import Senders
    from shared.adapters.postgres import Pools, Stores
    from shared.adapters.redis import RedisStore
    from shared.adapters.redis.sessions import SessionStore
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
        for name in ("pools", "redis", "tables", "exports", "hub", "credentials"):
            if self.__dict__.get(name) is not None:
                await getattr(self, name).close()

    @cached_property
    def credentials(self) -> Credentials:
        return Credentials(self.settings)

    @cached_property
    def strategies(self) -> StrategyCatalog:
        return shipped_strategies()

    @cached_property
    def plans(self) -> PlanCatalog:
        return shipped_plans()

    @cached_property
    def channels(self) -> ChannelCatalog:
        return shipped_channels()

    @cached_property
    def templates(self) -> Templates:
        return shipped_templates()

    @cached_property
    def senders(self) -> "Senders":
        from shared.adapters.notifications.senders import Senders

        given = self.settings.notifications
        return Senders(
            given.vendor_addresses, bot_token=given.discord_bot_token, guild_id=given.discord_guild_id
        )

    @cached_property
    def secret_box(self) -> "SecretBox":
        from shared.adapters.notifications.secret_box import SecretBox

        return SecretBox(self.credentials.pepper(), self.credentials.previous_pepper())

    @cached_property
    def calendars(self) -> MarketCalendars:
        return market_calendars()

    @cached_property
    def pools(self) -> "Pools":
        from shared.adapters.postgres import Pools

        settings, credentials = self.settings, self.credentials
        return Pools(
            settings.database_url,
            role=settings.database_role,
            main_size=settings.database_pool_size,
            password=credentials.database_password,
            jobs_url=settings.jobs_database_url,
            jobs_password=credentials.jobs_database_password,
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
    def session_store(self) -> "SessionStore":
        from shared.adapters.redis.sessions import SessionStore

        return SessionStore(self.redis)

    @cached_property
    def tables(self) -> "LicenseTables":
        from shared.adapters.tables import LicenseTables

        return LicenseTables(self.settings.tables_address, self.credentials.tokens)

    @cached_property
    def exports(self) -> "ExportBlobs":
        from shared.adapters.export_blobs import ExportBlobs

        return ExportBlobs(self.settings.exports_address, self.credentials.tokens)

    @cached_property
    def hub(self) -> "WebPubSubHub":
        from shared.adapters.web_pubsub import WebPubSubHub

        address, hub = self.settings.webpubsub_address, self.settings.webpubsub_hub
        return WebPubSubHub(address, hub, self.credentials.tokens)

    @cached_property
    def stores(self) -> "Stores":
        from shared.adapters.postgres import Stores

        return Stores(self.pools)
