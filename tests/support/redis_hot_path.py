"""Provides a grant, a confidence and short ways to ask a Redis store for them."""

from datetime import UTC, datetime
from typing import Any

from shared.adapters.redis import RedisStore
from shared.domain.access.admission import Admission
from shared.domain.access.licenses import ApiKey, Grant, License
from shared.domain.access.plans import Overrides
from shared.domain.confidence.answers import CacheResult, ModelOutput
from tests.support.license_plans import PLANS

HASH = "5b" * 32
CONFIDENCE = "confidence:{vwap_bounce.1:ES:LONG:21,35,,,}:m1"
VERDICT = ModelOutput(0.5, "model", "m1")


def grant_of(limit: int = 100, expires_at: datetime | None = None) -> Grant:
    now = datetime.now(UTC)
    return PLANS.grant(
        License(
            license_id="lic_Ab1234567890",
            account_id="acct-1",
            overrides=Overrides(symbols=("ES",), requests_per_minute=limit),
            expires_at=expires_at,
            created_at=now,
        ),
        ApiKey(
            public_id="Ab12Cd", key_hash=HASH, license_id="lic_Ab1234567890", scopes=("bot",), created_at=now
        ),
    )


async def admitted(store: RedisStore, key_hash: str = HASH, **options: Any) -> Admission:
    """For a license that is cached."""
    answer = await store.take_request(key_hash, **options)
    assert answer is not None
    return answer


async def remaining(store: RedisStore) -> int:
    answer = await admitted(store)
    assert answer.rate is not None
    return answer.rate.remaining


async def find(store: RedisStore, key: str = CONFIDENCE) -> CacheResult:
    answer = await admitted(store, confidence_key=key)
    assert answer.cache_result is not None
    return answer.cache_result
