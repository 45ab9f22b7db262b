"""One request for a confidence, in the order that the docs say; a batch; and what is counted."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import pytest

from shared.domain.access.licenses import Grant
from shared.domain.access.rate_limit import RateState, rate_limited
from shared.domain.confidence.answers import CacheResult, ConfidenceAnswer, EncodedAnswer
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import untrained
from shared.errors import (
    DatabaseUnavailable,
    KeyRevoked,
    MalformedJson,
    NoConfidence,
    SignalCloudError,
    StrategyNotLicensed,
    SymbolNotLicensed,
    ValidationFailed,
)
from shared.services.access import Admitted
from shared.services.confidence import ConfidenceService
from shared.services.evaluator import ConfidenceQuery
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.strategies import DEFAULT, STATES

BODY = b'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}'
MODEL = untrained(DEFAULT)
GRANT = grant_of("acct-1", "ES")


class Evaluator:
    """Answers from the cache result if it has an answer; knows no model until it was asked for the first."""

    def __init__(self, *, away: bool = False, knows_a_model: bool = True) -> None:
        self.away = away
        self.knows_a_model = knows_a_model
        self.computed: list[str] = []
        self.unconfirmed: str | None = None  # the key under a champion that was not read again lately

    def query(self, state: MarketState) -> ConfidenceQuery | None:
        if self.unconfirmed is not None:
            return ConfidenceQuery(state, MODEL, self.unconfirmed, confirmed=False)
        return ConfidenceQuery(state, MODEL, f"key of {state.symbol}") if self.knows_a_model else None

    async def first_query(self, state: MarketState) -> ConfidenceQuery:
        if self.away:
            raise DatabaseUnavailable("No model is known yet.")
        self.knows_a_model, self.unconfirmed = True, None
        query = self.query(state)
        assert query is not None
        return query

    @staticmethod
    def cached_answer(query: ConfidenceQuery, cache_result: CacheResult | None) -> EncodedAnswer | None:
        return cache_result.answer if cache_result is not None else None

    async def answer(self, query: ConfidenceQuery, cache_result: CacheResult | None) -> EncodedAnswer:
        self.computed.append(query.key)
        return EncodedAnswer(b"computed", False)

    async def answer_batch(self, states: Sequence[MarketState]) -> list[ConfidenceAnswer]:
        return [
            ConfidenceAnswer(0.5, state.symbol, state.side, state.strategy, "v", "base_rate", False, 0)
            for state in states
        ]


class World:
    """The service, and the one caller that asks it."""

    def __init__(self, **options: bool) -> None:
        self.is_known = True
        self.met: Admitted | None = None
        self.body: bytes | Exception = BODY
        self.evaluator = Evaluator(**options)
        self.counted = Counted()
        self.released: list[Admitted] = []
        self.steps: list[str] = []
        self.admitted = Admitted(GRANT, RateState(3, 2, 60.0))
        self.refusal: SignalCloudError | None = None
        self.looked_up: list[set[str]] = []
        self.service = ConfidenceService(
            states=STATES,
            published=self._published,
            evaluator=self.evaluator,
            release=self._release,
            count=self.counted,
        )

    async def _published(self, names: Collection[str]) -> set[str]:
        self.looked_up.append({*names})
        return {"manual"} & {*names}

    async def _release(self, admitted: Admitted) -> None:
        self.released.append(admitted)

    def is_trusted(self) -> bool:
        return self.is_known

    async def meet(self) -> Admitted | None:
        self.steps.append("meet")
        if self.refusal is not None:
            raise self.refusal
        return self.met

    def read_body(self) -> bytes:
        self.steps.append("read")
        if isinstance(self.body, Exception):
            raise self.body
        return self.body

    async def admit(self, *, confidence_key: str | None = None) -> Admitted:
        self.steps.append(f"admit with {confidence_key}")
        if self.refusal is not None:
            raise self.refusal
        return self.admitted

    async def answer(self, body: bytes | Exception = BODY) -> bytes:
        self.body = body
        return await self.service.answer(self)


async def test_the_state_is_read_first_so_that_admission_can_ask_for_its_confidence() -> None:
    world = World()
    assert await world.answer() == b"computed"
    assert world.steps == ["read", "admit with key of ES"]
    assert world.evaluator.computed == ["key of ES"]
    assert world.counted == {"confidence_asked": 1}
    assert world.released == []


async def test_what_admission_found_is_answered_and_counted_as_cached() -> None:
    world = World()
    found = CacheResult("key of ES", answer=EncodedAnswer(b"cached", True))
    world.admitted = Admitted(GRANT, cache_result=found)
    assert await world.answer() == b"cached"
    assert world.evaluator.computed == []
    assert world.counted == {"confidence_asked": 1, "confidence_cached": 1}


async def test_the_caller_is_admitted_before_anything_waits_for_the_first_model() -> None:
    world = World(knows_a_model=False)
    assert await world.answer() == b"computed"
    assert world.steps == ["read", "admit with None"]
    world.refusal = KeyRevoked("This API key was revoked.")
    with pytest.raises(KeyRevoked):
        await world.answer()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", MalformedJson),
        (BODY.replace(b"35", b"350"), ValidationFailed),
        (MalformedJson("The body cannot be read."), MalformedJson),
    ],
)
async def test_a_bad_state_is_told_to_those_who_may_ask(body: Any, error: type[SignalCloudError]) -> None:
    world = World()
    with pytest.raises(error):
        await world.answer(body)
    assert world.steps == ["read", "admit with None"]
    assert world.counted == {"confidence_asked": 1}
    world.refusal = KeyRevoked("This API key was revoked.")
    with pytest.raises(KeyRevoked):
        await world.answer(body)
    assert world.counted == {"confidence_asked": 1}, "a request that is refused asks nothing"


async def test_a_strategy_is_looked_up_only_for_those_who_may_ask() -> None:
    world = World()
    manual = BODY.replace(b"{", b'{"strategy": "manual", ', 1)
    with pytest.raises(NoConfidence):
        await world.answer(manual)
    assert world.looked_up == [{"manual"}]
    with pytest.raises(ValidationFailed):
        await world.answer(manual.replace(b"manual", b"momentum"))
    with pytest.raises(ValidationFailed):
        await world.answer(BODY.replace(b"35", b"350"))
    assert world.looked_up == [{"manual"}, {"momentum"}]
    world.refusal = KeyRevoked("This API key was revoked.")
    with pytest.raises(KeyRevoked):
        await world.answer(manual)
    assert len(world.looked_up) == 2


async def test_an_outage_is_told_to_those_who_may_ask() -> None:
    world = World(away=True, knows_a_model=False)
    with pytest.raises(DatabaseUnavailable):
        await world.answer()
    world.refusal = rate_limited(RateState(3, 0, 7.0))
    with pytest.raises(SignalCloudError) as refused:
        await world.answer()
    assert refused.value.code == "rate_limited"


async def test_a_defect_in_reading_is_nobodys_refusal() -> None:
    world = World()
    with pytest.raises(KeyError):
        await world.answer(KeyError("a defect"))
    assert world.steps == ["read"]


async def test_the_body_of_a_caller_that_is_not_known_is_read_after_its_key_is_looked_up() -> None:
    world = World()
    world.is_known = False
    assert await world.answer() == b"computed"
    assert world.steps == ["meet", "read", "admit with key of ES"]
    world.steps.clear()
    world.refusal = KeyRevoked("This API key was revoked.")
    with pytest.raises(KeyRevoked):
        await world.answer()
    assert world.steps == ["meet"]


async def test_a_caller_that_was_admitted_without_its_body_is_not_admitted_twice() -> None:
    world = World()
    world.is_known, world.met = False, Admitted(GRANT, RateState(3, 2, 60.0))
    assert await world.answer() == b"computed"
    assert world.steps == ["meet", "read"]
    assert world.evaluator.computed == ["key of ES"]


async def test_a_symbol_outside_of_the_license_gives_the_lock_back() -> None:
    world = World()
    world.admitted = Admitted(
        grant_of("acct-1", "NQ"), cache_result=CacheResult("key of ES", lock_token="mine")
    )
    with pytest.raises(SymbolNotLicensed) as refused:
        await world.answer()
    assert [error.field for error in refused.value.errors] == ["symbol"]
    assert world.released == [world.admitted]
    assert world.evaluator.computed == []
    assert world.counted == {"confidence_asked": 1}


def covering(strategy: str) -> Grant:
    return msgspec.structs.replace(GRANT, terms=msgspec.structs.replace(GRANT.terms, strategies=(strategy,)))


async def test_a_strategy_outside_of_the_license_is_refused_and_gives_the_lock_back() -> None:
    other = covering("another")
    world = World()
    world.admitted = Admitted(other, cache_result=CacheResult("key of ES", lock_token="mine"))
    with pytest.raises(StrategyNotLicensed, match=f"of another, and not of {DEFAULT.name}") as refused:
        await world.answer()
    assert [error.field for error in refused.value.errors] == ["strategy"]
    assert world.released == [world.admitted]
    with pytest.raises(StrategyNotLicensed) as refused:
        await world.service.answer_batch(other, batch("ES"), free)
    assert [error.field for error in refused.value.errors] == ["states[0].strategy"]
    world.admitted = Admitted(covering(DEFAULT.name))
    assert await world.answer()


def batch(*symbols: str) -> bytes:
    states = b",".join(BODY.replace(b"ES", symbol.encode()) for symbol in symbols)
    return b'{"states": [%s]}' % states


async def free(states: int) -> None:
    """Charges nothing."""


async def test_a_batch_is_answered_in_its_order_and_counts_every_state() -> None:
    world = World()
    grant = grant_of("acct-1", "ES", "NQ")
    charged: list[int] = []

    async def charge(states: int) -> None:
        charged.append(states)

    answered = await world.service.answer_batch(grant, batch("NQ", "ES", "NQ"), charge)
    assert charged == [3]
    assert [each.symbol for each in answered.confidences] == ["NQ", "ES", "NQ"]
    assert world.counted == {"confidence_asked": 3}


async def test_a_batch_with_a_symbol_outside_of_the_license_is_refused() -> None:
    world = World()
    with pytest.raises(SymbolNotLicensed) as refused:
        await world.service.answer_batch(GRANT, batch("ES", "NQ"), free)
    assert [error.field for error in refused.value.errors] == ["states[1].symbol"]


async def test_a_batch_that_cannot_be_read_counts_nothing() -> None:
    world = World()
    with pytest.raises(ValidationFailed):
        await world.service.answer_batch(GRANT, b'{"states": []}', free)
    assert world.counted == {}


@pytest.mark.parametrize(
    ("likely_key", "answer", "released"),
    [("key of ES", b"cached", 0), ("key of another model", b"computed", 1)],
)
async def test_after_an_idle_time_the_likely_champion_is_asked_for_and_then_confirmed(
    likely_key: str, answer: bytes, released: int
) -> None:
    world = World()
    world.evaluator.unconfirmed = likely_key
    found = CacheResult(likely_key, answer=EncodedAnswer(b"cached", True))
    world.admitted = Admitted(GRANT, RateState(3, 2, 60.0), found)
    assert await world.answer() == answer
    assert world.steps == ["read", f"admit with {likely_key}"]
    assert len(world.released) == released
