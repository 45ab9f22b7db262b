"""Redis: license records, rate limits, cached confidences and their locks."""

from shared.adapters.redis.store import Admission, RedisStore

__all__ = ["Admission", "RedisStore"]
