"""Compares published entries with those that the engine decides once it knows late and corrected bars."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from shared.domain.confidence.strategy import FeatureValue
from shared.domain.market.signals import Side, SignalDraft


class PublishedEntry(msgspec.Struct, frozen=True):
    """What a published entry said; `idempotency_key` is that of its draft."""

    sequence: int
    idempotency_key: str
    side: Side
    price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    event_at: datetime
    features: dict[str, FeatureValue]


class Hindsight(msgspec.Struct, frozen=True):
    """What the engine would have published, had it known late and corrected bars in time.

    Published signals stay as they are. `dropped` are the sequences of those that it would not have published,
    `changed` of those that would have other prices or features, and `missed` the times of entries that it
    would have published.
    """

    dropped: list[int] = []
    changed: list[int] = []
    missed: list[datetime] = []


def in_hindsight(
    published: Iterable[PublishedEntry], decided: Sequence[SignalDraft], missed: Iterable[SignalDraft]
) -> Hindsight:
    """`decided` are all entries of the time of `published`, `missed` those of them that come too late now."""
    drafts = {draft.idempotency_key: draft for draft in decided}
    known = [(entry, drafts.get(entry.idempotency_key)) for entry in published]
    return Hindsight(
        dropped=[entry.sequence for entry, draft in known if draft is None],
        changed=[
            entry.sequence
            for entry, draft in known
            if draft is not None
            and any(
                getattr(entry, name) != getattr(draft, name) for name in PublishedEntry.__struct_fields__[2:]
            )
        ],
        missed=[draft.event_at for draft in missed],
    )
