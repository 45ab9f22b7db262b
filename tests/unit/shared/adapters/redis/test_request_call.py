"""The keys and arguments of the call of take_requests.lua, and what its reply says to each request."""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.adapters.redis.names import license_key, lock_key, rate_key
from shared.adapters.redis.request_call import RequestCall, TakenRequest
from shared.adapters.redis.store import MAX_REQUESTS_PER_CALL
from shared.domain.access.admission import Admission
from shared.domain.access.rate_limit import RateState
from shared.domain.confidence.answers import CacheResult, ModelOutput, encode_output

LIMITS = (60_000_000, 2_000, 1_000)


@example([(number, (1, 0)) for number in range(MAX_REQUESTS_PER_CALL)])
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(0, 300), st.sampled_from([(1, 0), (1, 0), (5, 0), (10, 1), (1, 1)])
        ),
        min_size=1,
        max_size=MAX_REQUESTS_PER_CALL,
    )
)
def test_a_call_names_the_keys_and_arguments_that_the_script_reads(
    asked: list[tuple[int | None, tuple[int, int]]],
) -> None:
    loop = asyncio.new_event_loop()
    batch = [
        TakenRequest(
            f"{number:064x}",
            f"{number:016x}",
            None if each is None else f"confidence:{{{each}}}:m",
            cost,
            paid,
            loop.create_future(),
        )
        for number, (each, (cost, paid)) in enumerate(asked)
    ]
    loop.close()
    confidences = list(dict.fromkeys(each.confidence_key for each in batch if each.confidence_key))
    keys = [key for each in batch for key in (license_key(each.key_hash), rate_key(each.key_hash))]
    keys += [key for each in confidences for key in (each, lock_key(each))]
    costs = ",".join(
        f"{place}={cost}-{paid}" for place, (_, (cost, paid)) in enumerate(asked, 1) if (cost, paid) != (1, 0)
    )
    arguments: list[str | int] = [*LIMITS, "token", costs]
    for each in batch:
        arguments += [each.tag, 1 + confidences.index(each.confidence_key) if each.confidence_key else 0]
    assert RequestCall(batch, "token").keys_and_arguments(LIMITS) == (keys, arguments)


async def test_a_reply_is_handed_to_the_requests_in_their_order() -> None:
    loop = asyncio.get_running_loop()
    asked = ["cached", "free", None, "free", "taken"]
    batch = [TakenRequest(str(n), "tag", key, 1, 0, loop.create_future()) for n, key in enumerate(asked)]
    batch.append(TakenRequest("unknown", "tag", None, 1, 0, loop.create_future()))
    call = RequestCall(batch, "token")
    call.keys_and_arguments(LIMITS)
    output = ModelOutput(0.5, "model", "m1")
    call.hand_out(
        (
            [
                (10, 9, 1_000_000, 60_000, b"record"),
                (10, 8, 2_000_000, 60_000, None),
                (0, -1, 0, 50, None),
                (10, -1 - 2, 3_000_000, 60_000, None),
                (10, 0, 0, 60_000, None),
                (-1, -1, 0, 0, None),
            ],
            [(12, encode_output(output)), (-3, None), (-1, None)],
        )
    )
    assert [await each.answer for each in batch] == [
        Admission(b"record", True, RateState(10, 9, 1.0), 60_000, CacheResult("cached", output, 12)),
        Admission(None, True, RateState(10, 8, 2.0), 60_000, CacheResult("free", lock_token="token")),
        Admission(None, False, None, 50),
        Admission(None, False, RateState(10, 2, 3.0), 60_000, CacheResult("free")),
        Admission(None, True, RateState(10, 0, 0.0), 60_000, CacheResult("taken")),
        None,
    ]


async def test_a_reply_with_too_few_rows_is_refused() -> None:
    request = TakenRequest("1", "tag", None, 1, 0, asyncio.get_running_loop().create_future())
    with pytest.raises(ValueError, match="shorter"):
        RequestCall([request], "token").hand_out(([], []))
