from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.domain.market.hindsight import Hindsight, PublishedEntry, in_hindsight
from shared.domain.market.signals import SignalDraft
from tests.support.samples import START, a_draft


def draft(key: str = "a", **changes: Any) -> SignalDraft:
    return a_draft(idempotency_key=key, **changes)


def published(sequence: int, of: SignalDraft) -> PublishedEntry:
    names = PublishedEntry.__struct_fields__[1:]
    return PublishedEntry(sequence, *(getattr(of, name) for name in names))


def test_nothing_differs_if_the_entries_are_the_same() -> None:
    one = draft(price=Decimal("6487.250"))
    assert in_hindsight([published(4, draft())], [one], []) == Hindsight()


@pytest.mark.parametrize(
    "changes",
    [
        {"price": Decimal("6487.50")},
        {"stop_price": None},
        {"target_price": Decimal(6500)},
        {"features": {"rsi": 28.6}},
        {"features": {}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_entry_with_another_content_is_changed(changes: dict[str, Any]) -> None:
    assert in_hindsight([published(4, draft())], [draft(**changes)], []) == Hindsight(changed=[4])


def test_entries_that_would_not_be_are_dropped_and_those_that_would_are_missed() -> None:
    later = draft("b", event_at=START + timedelta(minutes=9))
    found = in_hindsight([published(4, draft()), published(5, draft("c"))], [draft("c"), later], [later])
    assert found == Hindsight(dropped=[4], missed=[later.event_at])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Hindsight) == found
