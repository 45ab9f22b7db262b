"""Serves the baseline: the same route, as a competent team would first build it.

It uses FastAPI, slowapi for the rate limit, SQLAlchemy to read the license of the presented key from
PostgreSQL, redis-py GET and SET with a TTL of two seconds, scikit-learn on a miss, and uvicorn with uvloop
and httptools. It is one asynchronous process with pooled connections: nothing in it is slow on purpose.

    BASELINE_DATABASE_URL=postgresql+psycopg://... BASELINE_REDIS_URL=redis://... \\
        python -m uvicorn loadtests.baseline.app:app
"""

import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import joblib
import redis.asyncio as redis
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, Field
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from loadtests.baseline.tables import License

TTL_S = 2
RATE_LIMIT = os.environ.get("BASELINE_RATE_LIMIT", "10000/minute")


class MarketState(BaseModel):
    symbol: Literal["ES", "NQ", "CL", "YM", "RTY"]
    signal_type: Literal["LONG", "SHORT"]
    vwap_distance: float = Field(ge=0, le=10)
    rsi: float = Field(ge=0, le=100)


class Confidence(BaseModel):
    confidence: float
    symbol: str
    signal_type: str
    model_version: str
    cached: bool
    age_ms: int


class CachedConfidence(BaseModel):
    confidence: float
    computed_at: float


def presented_key(request: Request) -> str:
    authorization: str = request.headers.get("authorization", "")
    return authorization.removeprefix("Bearer ")


limiter = Limiter(key_func=presented_key)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(os.environ["BASELINE_DATABASE_URL"], pool_size=20, max_overflow=20)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.state.cache = redis.from_url(os.environ["BASELINE_REDIS_URL"], max_connections=200)
    app.state.model = joblib.load(Path(os.environ["BASELINE_MODEL"]))
    yield
    await app.state.cache.aclose()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)


async def database(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


async def current_license(request: Request, session: Annotated[AsyncSession, Depends(database)]) -> License:
    """Returns the license of the presented key; raises 401 if it is unknown, 403 if it is not active."""
    key_hash = hashlib.sha256(presented_key(request).encode()).hexdigest()
    license_: License | None = await session.scalar(select(License).where(License.key_hash == key_hash))
    if license_ is None:
        raise HTTPException(401, "Unknown API key")
    if license_.status != "active" or license_.expires_at < datetime.now(UTC):
        raise HTTPException(403, "License is not active")
    return license_


def predict(model: dict[str, Any], state: MarketState) -> float:
    row = [
        [model["sides"][state.signal_type], model["symbols"][state.symbol], state.vwap_distance, state.rsi]
    ]
    return round(float(model["estimator"].predict_proba(row)[0, 1]), 4)


@app.post("/api/ml/get_confidence")
@limiter.limit(RATE_LIMIT)
async def get_confidence(
    request: Request, state: MarketState, license_: Annotated[License, Depends(current_license)]
) -> Confidence:
    if state.symbol not in license_.symbols.split(","):
        raise HTTPException(403, "Symbol is not licensed")
    cache: redis.Redis = request.app.state.cache
    model = request.app.state.model
    rounded = f"{state.vwap_distance:.1f}:{state.rsi:.0f}"
    key = f"baseline:{model['version']}:{state.symbol}:{state.signal_type}:{rounded}"
    found = await cache.get(key)
    if found is not None:
        held = CachedConfidence.model_validate_json(found)
        confidence, cached, age_ms = held.confidence, True, int((time.time() - held.computed_at) * 1000)
    else:
        # A prediction takes less time than a change of threads.
        confidence, cached, age_ms = predict(model, state), False, 0
        held = CachedConfidence(confidence=confidence, computed_at=time.time())
        await cache.set(key, held.model_dump_json(), ex=TTL_S)
    return Confidence(
        confidence=confidence,
        symbol=state.symbol,
        signal_type=state.signal_type,
        model_version=model["version"],
        cached=cached,
        age_ms=age_ms,
    )
