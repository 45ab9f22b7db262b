"""Describes what payment vendors report, in our own words; every vendor's event becomes one of these."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

Provider = Literal["stripe", "whop"]
# Snapshots show a whole subscription (Whop: membership) as it was at one moment.
Snapshot = Literal["pending", "trial_started", "activated", "plan_changed", "cancelled", "past_due", "ended"]
PaymentKind = (
    Snapshot
    | Literal[
        "checked_out",
        "linked",
        "paid",
        "payment_failed",
        "refunded",
        "disputed",
        "dispute_closed",
        "ignored",
    ]
)

# Longer texts of vendors are left out.
MAX_TEXT = 255
MAX_PRODUCTS = 20
MAX_LINKS = 20
MAX_ACCOUNT = 64


class PaymentEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of a vendor about one subscription, with what we need of it.

    `at` is the vendor's time. `subject` is the subscription that pays, such as `stripe:sub_123`; None if the
    event names only a payment. `links` are the vendor's ids of that payment (invoice, intent, charge): events
    that share one concern the same payment. `products` are the vendor's ids of what was bought, the most
    exact first.

    A snapshot has the paid period, and in `facets` the values by which its place among snapshots of the same
    second is found: `before` has the former values of those that this event changed. `rank` tells a creation
    (0), a change (1) and the end (2) apart. `ends_at` is when a cancelled subscription ends, and the time of
    the end of an ended one.

    `case` is the id of a refund or dispute. Of `total`, a refund gives back `amount`; a payment has both.
    """

    provider: Provider
    event_id: str
    type: str
    at: datetime
    kind: PaymentKind = "ignored"
    why_ignored: str = ""
    subject: str | None = None
    customer: str | None = None
    links: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    period_start: datetime | None = None
    period_end: datetime | None = None
    ends_at: datetime | None = None
    rank: int = 1
    facets: dict[str, str] = {}
    before: dict[str, str] = {}
    case: str | None = None
    amount: Decimal | None = None
    total: Decimal | None = None
    email: str | None = None
    discord_user_id: str | None = None


def account_of(provider: Provider, customer: str) -> str:
    """The account of a vendor's customer: the same for everything that the customer buys."""
    return f"{provider}-{customer}"[:MAX_ACCOUNT]


def short(text: str | None) -> str | None:
    """`text` without blanks around it; None if it is empty, too long, or not printable."""
    stripped = (text or "").strip()
    return stripped if 0 < len(stripped) <= MAX_TEXT and stripped.isprintable() else None


def ids_in(given: Iterable[str | None], most: int = MAX_PRODUCTS) -> tuple[str, ...]:
    """The ids among `given`, each once, at most `most`."""
    return tuple(dict.fromkeys(each for each in map(short, given) if each is not None))[:most]


def discord_id(given: object) -> str | None:
    """A Discord user's id, which has 15 to 20 digits; None for anything else."""
    text = str(given).strip() if isinstance(given, str | int) else ""
    return text if text.isascii() and text.isdigit() and 15 <= len(text) <= 20 else None
