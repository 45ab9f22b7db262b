"""Folds the events of one subscription into what they say together.

Vendors deliver events late, twice and in any order, and the times of events may be equal to the second. So
nothing is added to a former state: each time, all known events are put in their order and folded from the
start. The result follows from the set of events alone.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Literal, get_args

import msgspec

from shared.domain.access.license_checks import is_email
from shared.domain.payments.events import PaymentEvent, Provider, Snapshot

# Of events with the same time. A payment that succeeds follows the snapshot that shows its failure.
_ORDER = {"checked_out": 0, "linked": 0, "payment_failed": 1, "paid": 3, "refunded": 4, "disputed": 5}
_SNAPSHOT = 2
_LAST = 6
_SNAPSHOT_KINDS = frozenset(get_args(Snapshot))
# A payment this long before the end of a period is for the next one.
_EARLY = timedelta(days=1)
# The first period after a trial, if the payment does not say how long it is: a month.
_AFTER_TRIAL = timedelta(days=31)


class PaymentState(msgspec.Struct, frozen=True, kw_only=True):
    """What all events of a subscription say.

    It has `started` when access was due for the first time. `period_end` is the end of the paid period, None
    if it has none. If it `renews`, another period follows; else it ends at `ends_at`. `ended_at` is when it
    ended. `failed_at` is when the oldest payment failed that is not made up for. `revoked_for` says why the
    money was taken back, and `taken_back` in which disputes or of which payment. `emails` and
    `discord_user_ids` are all that were ever given.
    """

    provider: Provider
    subject: str
    customer: str | None = None
    products: tuple[str, ...] = ()
    email: str | None = None
    discord_user_id: str | None = None
    emails: frozenset[str] = frozenset()
    discord_user_ids: frozenset[str] = frozenset()
    started: bool = False
    period_end: datetime | None = None
    renews: bool = True
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    failed_at: datetime | None = None
    revoked_for: Literal["refund", "dispute"] | None = None
    taken_back: str | None = None


def subject_of(events: Iterable[PaymentEvent]) -> str | None:
    """The subscription that related events name; None if none of them names one."""
    return min((each.subject for each in events if each.subject is not None), default=None)


def state_of(events: Iterable[PaymentEvent]) -> PaymentState | None:
    """What related events say together; None if they name no subscription.

    Events may be repeated, and their order does not matter.
    """
    ordered = in_order(events)
    subject = subject_of(ordered)
    if subject is None:
        return None
    payments = _payments_of(ordered)
    taken_back = _taken_back(ordered, payments)
    paid = [each for each in ordered if each.kind == "paid"]
    fold = _Fold(ordered[0].provider, subject, {payments.get(link) for each in paid for link in each.links})
    for event in ordered:
        payment = _payment(event, payments)
        fold.take(event, payment, is_taken_back=payment in taken_back)
    if disputes := _open_disputes(ordered):
        return fold.result("dispute", " ".join(disputes))
    refunded = _last_refunded(paid, payments, taken_back)
    return fold.result(None) if refunded is None else fold.result("refund", refunded.event_id)


def in_order(events: Iterable[PaymentEvent]) -> list[PaymentEvent]:
    """`events` in the order in which they happened, each once."""
    known = {each.event_id: each for each in events}
    ordered: list[PaymentEvent] = []
    facets: Mapping[str, str] = {}
    sorted_events = sorted(known.values(), key=lambda each: (*_place(each), _given_back(each), each.event_id))
    for _, group in groupby(sorted_events, key=_place):
        left = list(group)
        while left:
            event = _next_of(left, facets)
            left.remove(event)
            ordered.append(event)
            facets = event.facets or facets
    return ordered


def _place(event: PaymentEvent) -> tuple[datetime, int, int]:
    if event.kind in _SNAPSHOT_KINDS:
        return event.at, _SNAPSHOT, event.rank
    return event.at, _ORDER.get(event.kind, _LAST), 1


def _given_back(event: PaymentEvent) -> tuple[str, Decimal]:
    """Of the events of a refund in one second, the one that gives back most is the last: Stripe's add up.

    An update of a refund comes after its creation.
    """
    return (event.type, event.amount or Decimal(0)) if event.kind == "refunded" else ("", Decimal(0))


def _next_of(left: Sequence[PaymentEvent], facets: Mapping[str, str]) -> PaymentEvent:
    """The snapshot that changes what the former one shows; else one that no other one leads to."""
    if len(left) == 1:
        return left[0]
    follows = [each for each in left if _leads_to(facets, each)]
    first = [
        each for each in left if not any(_leads_to(other.facets, each) for other in left if other is not each)
    ]
    return (follows or first or left)[0]


def _leads_to(facets: Mapping[str, str], event: PaymentEvent) -> bool:
    """Whether `facets` are what the snapshot showed before its change."""
    return bool(event.before) and {**event.facets, **event.before} == facets


def _payments_of(events: Sequence[PaymentEvent]) -> dict[str, str]:
    """The name of the payment that each link belongs to: events that share a link concern one payment."""
    payment_of: dict[str, str] = {}
    links_of: dict[str, list[str]] = {}
    for event in events:
        names = sorted({payment_of.get(link, link) for link in event.links})
        for name in names:
            members = links_of.pop(name, [name])
            links_of.setdefault(names[0], []).extend(members)
            payment_of.update(dict.fromkeys(members, names[0]))
    return payment_of


def _payment(event: PaymentEvent, payments: Mapping[str, str]) -> str | None:
    return payments[event.links[0]] if event.links else None


def _taken_back(events: Sequence[PaymentEvent], payments: Mapping[str, str]) -> set[str | None]:
    """The payments that were refunded in full, in one refund or in several."""
    last = {each.case: each for each in events if each.kind == "refunded"}
    sums: dict[str | None, Decimal] = {}
    for each in last.values():
        payment = _payment(each, payments)
        sums[payment] = sums.get(payment, Decimal(0)) + (each.amount or Decimal(0))
    # A refund knows best how much was charged; an invoice may have been paid from a balance, too.
    totals = {
        _payment(each, payments): each.total
        for kind in ("paid", "refunded")
        for each in events
        if each.kind == kind and each.total is not None
    }
    return {
        payment
        for payment, refunded in sums.items()
        if payment is not None and 0 < totals.get(payment, Decimal(0)) <= refunded
    }


def _last_refunded(
    paid: Sequence[PaymentEvent], payments: Mapping[str, str], taken_back: Container[str | None]
) -> PaymentEvent | None:
    """The last payment, if it was refunded and no other one that was kept pays for its period.

    The difference of a change of plan is paid within a period that is paid already.
    """
    worth = [each for each in paid if each.amount != 0]
    if not worth or _payment(worth[-1], payments) not in taken_back:
        return None
    end = worth[-1].period_end
    is_paid_for = any(
        end is not None
        and each.period_end is not None
        and each.period_end >= end
        and _payment(each, payments) not in taken_back
        for each in worth
    )
    return None if is_paid_for else worth[-1]


def _open_disputes(events: Sequence[PaymentEvent]) -> list[str]:
    """The ids of the disputes that are not closed."""
    closed = {each.case for each in events if each.kind == "dispute_closed"}
    return sorted({each.case or "" for each in events if each.kind == "disputed" and each.case not in closed})


class _Fold:
    """The state while the events are taken in order; `paid` are the payments that were ever made."""

    def __init__(self, provider: Provider, subject: str, paid: set[str | None]) -> None:
        self._provider: Provider = provider
        self._subject = subject
        self._paid = paid
        self._last: dict[str, str] = {}
        self._emails: list[str] = []
        self._discord: list[str] = []
        self._customer: str | None = None
        self._bought: tuple[str, ...] = ()
        self._shown: tuple[str, ...] = ()
        self._started = False
        self._on_trial = False
        self._length: timedelta | None = None
        self._period_end: datetime | None = None
        self._renews = True
        self._ends_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._failed_at: datetime | None = None

    def take(self, event: PaymentEvent, payment: str | None, *, is_taken_back: bool) -> None:
        self._customer = event.customer or self._customer
        # An address that no license can have must not keep a buyer from the license.
        if event.email is not None and is_email(event.email):
            self._emails.append(event.email)
        if event.discord_user_id is not None:
            self._discord.append(event.discord_user_id)
        match event.kind:
            case "paid":
                self._bought = event.products or self._bought
                if not is_taken_back:
                    self._pay(event)
            case "payment_failed":
                if payment not in self._paid:
                    self._failed_at = self._failed_at or event.at
            case _ if event.kind in _SNAPSHOT_KINDS:
                self._show(event)

    def _pay(self, event: PaymentEvent) -> None:
        self._started = True
        self._failed_at = None
        if event.period_end is not None:
            self._period_end = max(self._period_end or event.period_end, event.period_end)
        elif (
            self._period_end is not None
            and self._length is not None
            and not (self._on_trial and event.amount == 0)
        ):
            # Whop's payments do not say for which period they are.
            early = min(_EARLY, self._length / 4)
            length = _AFTER_TRIAL if self._on_trial else self._length
            while self._period_end <= event.at + early:
                self._period_end += length
        self._on_trial = self._on_trial and event.amount == 0

    def _show(self, event: PaymentEvent) -> None:
        self._shown = event.products or self._shown
        if event.kind == "pending":
            return
        if event.kind == "ended":
            self._ended_at = event.ends_at
            return
        self._period_end = event.period_end
        if event.period_start is not None and event.period_end is not None:
            length = event.period_end - event.period_start
            self._length = length if length >= timedelta(hours=1) else None
        if event.kind == "past_due":
            self._failed_at = self._failed_at or event.at
            return
        self._started, self._ended_at = True, None
        self._on_trial = event.kind == "trial_started"
        self._renews = event.kind != "cancelled"
        self._ends_at = event.ends_at
        # One second may hold the renewal of a period, and the failure of its payment.
        if self._failed_at is not None and self._failed_at < event.at:
            self._failed_at = None

    def result(
        self, revoked_for: Literal["refund", "dispute"] | None, taken_back: str | None = None
    ) -> PaymentState:
        return PaymentState(
            provider=self._provider,
            subject=self._subject,
            customer=self._customer,
            products=self._shown or self._bought,
            email=self._emails[-1] if self._emails else None,
            discord_user_id=self._discord[-1] if self._discord else None,
            emails=frozenset(self._emails),
            discord_user_ids=frozenset(self._discord),
            started=self._started,
            period_end=self._period_end,
            renews=self._renews,
            ends_at=self._ends_at,
            ended_at=self._ended_at,
            failed_at=self._failed_at,
            revoked_for=revoked_for,
            taken_back=taken_back,
        )
