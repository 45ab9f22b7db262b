"""The call of admit.lua as it goes over the wire, for a batch of requests, and what its answer says to each.

Packed here from pieces that are made once a key, for hiredis packs every part anew, and answered in packed
numbers: both were a good share of what a cached confidence costs.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from itertools import batched
from struct import Struct

import msgspec

from shared.adapters.redis.names import license_key, lock_key, rate_key
from shared.domain.access.admission import Admission
from shared.domain.access.rate_limit import RateState
from shared.domain.confidence.answers import CacheResult, decode_output

# Of API keys and of confidences whose names in Redis are kept packed.
MAX_REMEMBERED_KEYS = 16_384
MAX_REMEMBERED_CONFIDENCES = 4_096

# As admit.lua packs them: limit, remaining, reset_us, life_ms of a request; the state of a confidence.
_REQUEST = Struct("<iiii")
_CONFIDENCE = Struct("<i")

type Reply = tuple[bytes, bytes, list[bytes], list[int | bytes]]


class AdmitRequest(msgspec.Struct, gc=False):
    """One request of a batch; `tag` is of the license record that its caller has."""

    key_hash: str
    tag: str
    confidence_key: str | None
    future: asyncio.Future[Admission | None]


class AdmitCall:
    """One call for all of `batch`; `token` is that of the locks which it may get."""

    def __init__(self, batch: Sequence[AdmitRequest], token: str) -> None:
        self.batch = batch
        self._token = token
        self._confidences: dict[str, int] = {}  # the number of each that is asked for, from 1

    def command(self, how: str, script: str, limits: Sequence[int]) -> bytes:
        """EVALSHA or EVAL with the keys and arguments that admit.lua names."""
        numbers = self._confidences
        asked_for = bytearray()
        for request in self.batch:
            key = request.confidence_key
            asked_for.append(0 if key is None else numbers.setdefault(key, len(numbers) + 1))
        keys = [_keys_of(request.key_hash) for request in self.batch]
        keys += [_keys_of_confidence(key) for key in numbers]
        tags = "".join([request.tag for request in self.batch])
        arguments: list[str | bytes] = [*map(str, limits), self._token, bytes(asked_for), tags]
        parts = b"*%d\r\n" % (3 + 2 * len(keys) + len(arguments)), _packed(how, script, str(2 * len(keys)))
        return b"".join([*parts, *keys, _packed(*arguments)])

    def hand_out(self, reply: Reply) -> None:
        """Tells each request what the answer says to it; raises where it cannot be read."""
        requests, confidences, values, changed = reply
        records: dict[int, bytes] = dict(batched(changed, 2, strict=True))  # type: ignore[arg-type]
        lookups = self._cache_results(confidences, values)
        answers = zip(self.batch, _REQUEST.iter_unpack(requests), lookups, strict=True)
        for number, (request, (limit, remaining, reset_us, life_ms), cache_result) in enumerate(answers):
            future = request.future
            if future.done():
                continue
            if limit < 0:
                future.set_result(None)
                continue
            allowed = remaining >= 0
            rate = RateState(limit, remaining if allowed else 0, reset_us / 1e6) if limit else None
            record = records.get(number) if records else None
            future.set_result(Admission(record, allowed, rate, life_ms, cache_result))

    def _cache_results(self, confidences: bytes, values: Sequence[bytes]) -> list[CacheResult | None]:
        """What each request finds of the confidence that it asks for."""
        by_key: dict[str | None, CacheResult] = {}
        leaders: dict[int, CacheResult] = {}
        cached = iter(values)
        for key, (state,) in zip(self._confidences, _CONFIDENCE.iter_unpack(confidences), strict=True):
            if state >= 0:
                by_key[key] = CacheResult(key, decode_output(next(cached)), state)
                continue
            by_key[key] = CacheResult(key)
            if state < -1:
                leaders[-2 - state] = CacheResult(key, lock_token=self._token)
        results = [by_key.get(request.confidence_key) for request in self.batch]
        for number, cache_result in leaders.items():
            results[number] = cache_result
        return results


@lru_cache(MAX_REMEMBERED_KEYS)
def _keys_of(key_hash: str) -> bytes:
    return _packed(license_key(key_hash), rate_key(key_hash))


@lru_cache(MAX_REMEMBERED_CONFIDENCES)
def _keys_of_confidence(key: str) -> bytes:
    return _packed(key, lock_key(key))


def _packed(*parts: str | bytes) -> bytes:
    """Parts of a command in Redis' protocol."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded])
