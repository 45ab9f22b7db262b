"""Keeps license records, rate limits, cached confidences and their locks in Redis."""

from shared.adapters.redis.store import RedisStore

__all__ = ["RedisStore"]
