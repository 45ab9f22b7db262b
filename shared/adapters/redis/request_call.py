"""Calls take_requests.lua for a batch of requests, and gives each request its answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from shared.adapters.redis.names import license_key, lock_key, rate_key
from shared.domain.access.admission import Admission
from shared.domain.access.rate_limit import BURST_WINDOW_S, WINDOW_S, LimitState, RateState
from shared.domain.confidence.answers import CacheResult, decode_output

# The rows that take_requests.lua returns. For each request: limit, remaining, reset_us, life_ms, record; and
# of a license with more limits: refused, burst, burst_reset_us, license_limit, license_remaining,
# license_reset_us.
type RequestRow = Sequence[Any]
# For each confidence: outcome, value.
type ConfidenceRow = tuple[int, bytes | None]
type Reply = tuple[list[RequestRow], list[ConfidenceRow]]


ROW = 5
_REFUSING = ("key", "key", "burst", "license")


class TakenRequest(msgspec.Struct, gc=False):
    """One request of a batch; `tag` is that of the license record that the caller holds.

    `cost` and `paid` are in units: what it costs, and what of this was taken before.
    """

    key_hash: str
    tag: str
    confidence_key: str | None
    cost: int
    paid: int
    answer: asyncio.Future[Admission | None]


class RequestCall:
    """One call for all requests of `batch`; `token` is the token of the locks that it takes."""

    def __init__(self, batch: Sequence[TakenRequest], token: str) -> None:
        self.batch = batch
        self._token = token
        self._confidences: dict[str, int] = {}  # a number for each requested confidence, from 1

    def keys_and_arguments(self, limits: Sequence[int]) -> tuple[list[str], list[str | int]]:
        """The KEYS and ARGV that take_requests.lua describes."""
        keys: list[str] = []
        costs: list[str] = []
        arguments: list[str | int] = [*limits, self._token, ""]
        numbers = self._confidences
        for request in self.batch:
            key = request.confidence_key
            keys += (license_key(request.key_hash), rate_key(request.key_hash))
            arguments += (request.tag, 0 if key is None else numbers.setdefault(key, len(numbers) + 1))
            if request.cost > 1 or request.paid:
                costs.append(f"{len(keys) // 2}={request.cost}-{request.paid}")
        if costs:
            arguments[len(limits) + 1] = ",".join(costs)
        for key in numbers:
            keys += (key, lock_key(key))
        return keys, arguments

    def hand_out(self, reply: Reply) -> None:
        """Gives each request its answer; raises if the reply cannot be read."""
        requests, confidences = reply
        lookups = self._cache_results(confidences)
        for request, row, cache_result in zip(self.batch, requests, lookups, strict=True):
            has_more = len(row) > ROW
            limit, remaining, reset_us, life_ms, record = row[:ROW] if has_more else row
            if request.answer.done():
                continue
            if limit < 0:
                request.answer.set_result(None)
                continue
            allowed = remaining >= 0
            rate: RateState | None = None
            if limit:
                left = remaining if allowed else -1 - remaining
                further = _others(row[ROW:]) if has_more else ()
                rate = RateState(limit, left, reset_us / 1e6, *further)
            request.answer.set_result(Admission(record, allowed, rate, life_ms, cache_result))

    def _cache_results(self, rows: Sequence[ConfidenceRow]) -> list[CacheResult | None]:
        """The cache result of each request; None if it asked for no confidence."""
        by_key: dict[str | None, CacheResult] = {}
        leaders: dict[int, CacheResult] = {}
        for key, (outcome, value) in zip(self._confidences, rows, strict=True):
            if value is not None:
                by_key[key] = CacheResult(key, decode_output(value), outcome)
                continue
            by_key[key] = CacheResult(key)
            if outcome < -1:
                leaders[-2 - outcome] = CacheResult(key, lock_token=self._token)
        results = [by_key.get(request.confidence_key) for request in self.batch]
        for number, cache_result in leaders.items():
            results[number] = cache_result
        return results


def _others(values: Sequence[int]) -> tuple[tuple[LimitState, ...], str]:
    """The further limits that a row tells of, and the one that refuses the request."""
    refused, burst, burst_us, license_limit, license_left, license_us = values
    others: list[LimitState] = []
    if burst:
        left = 0 if burst_us else None
        others.append(LimitState("burst", burst, BURST_WINDOW_S, left, burst_us / 1e6))
    if license_limit:
        others.append(LimitState("license", license_limit, WINDOW_S, license_left, license_us / 1e6))
    return tuple(others), _REFUSING[refused]
