"""The call of admit.lua on the wire, held against the library's own packer."""

import asyncio

import hiredis
from hypothesis import example, given
from hypothesis import strategies as st

from shared.adapters.redis.admit_call import AdmitCall, AdmitRequest
from shared.adapters.redis.names import license_key, lock_key, rate_key
from shared.adapters.redis.store import MAX_ADMITS_PER_CALL

LIMITS = (60_000_000, 2_000, 1_000)
SHA = "5a" * 20


@example(list(range(MAX_ADMITS_PER_CALL)))
@given(st.lists(st.none() | st.integers(0, 300), min_size=1, max_size=MAX_ADMITS_PER_CALL))
def test_a_call_is_packed_as_hiredis_packs_it(asked: list[int | None]) -> None:
    loop = asyncio.new_event_loop()
    batch = [
        AdmitRequest(
            f"{number:064x}",
            f"{number:016x}",
            None if each is None else f"confidence:{{{each}}}:m",
            loop.create_future(),
        )
        for number, each in enumerate(asked)
    ]
    loop.close()
    confidences = list(dict.fromkeys(each.confidence_key for each in batch if each.confidence_key))
    keys = [key for each in batch for key in (license_key(each.key_hash), rate_key(each.key_hash))]
    keys += [key for each in confidences for key in (each, lock_key(each))]
    numbers = bytes(
        1 + confidences.index(each.confidence_key) if each.confidence_key else 0 for each in batch
    )
    tags = "".join(each.tag for each in batch)
    command = ("EVALSHA", SHA, len(keys), *keys, *LIMITS, "token", numbers, tags)
    assert AdmitCall(batch, "token").command("EVALSHA", SHA, LIMITS) == hiredis.pack_command(command)  # type: ignore[arg-type]
