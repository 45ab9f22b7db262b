"""Redis: license records, rate limits, cached confidences and their locks."""

from shared.adapters.redis.store import RedisStore

__all__ = ["RedisStore"]
