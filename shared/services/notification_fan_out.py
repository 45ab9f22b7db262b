"""Decides for each new event who is notified of it."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from shared.domain.access.licenses import License, license_refusal
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.plans import Plan
from shared.domain.notifications.channels import Channel
from shared.domain.notifications.events import Event
from shared.domain.notifications.routing import (
    Route,
    Subscriber,
    channel_routes,
    license_routes,
    own_route,
    test_route,
)
from shared.errors import KeyStoreUnavailable
from shared.services.concurrency import run_for_each

BATCH = 50
MAX_TURNS = 40
AT_ONCE = 16  # licenses that are read at the same time

log = logging.getLogger(__name__)


class Turn(Protocol):
    """One transaction over some undecided events."""

    @property
    def events(self) -> Iterable[Event]: ...
    async def subscribers(self, event: Event) -> list[Subscriber]: ...
    async def add(self, event: Event, routes: Sequence[Route]) -> None: ...


class Queue(Protocol):
    def fan_out(self, limit: int, skipped: Collection[str] = ()) -> AbstractAsyncContextManager[Turn]: ...


class Licenses(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...


class FanOutService:
    """Queues each event for the channels, mails, roles and destinations that it is for, once each."""

    def __init__(
        self,
        *,
        queue: Queue,
        licenses: Licenses,
        plans: PlanCatalog,
        channels: Sequence[Channel],
        mails: bool,
        roles: bool,
        now: Callable[[], datetime],
    ) -> None:
        """`channels` are those that have an address; `mails` and `roles` say whether we can send them."""
        self._queue = queue
        self._licenses = licenses
        self._plans = plans
        self._channels = channels
        self._mails = mails
        self._roles = roles
        self._now = now

    async def run(self) -> int:
        """Decides the waiting events, at most MAX_TURNS * BATCH; returns how many. Raises Unavailable.

        An event whose customers cannot be told, because their licenses cannot be read, waits for a later run
        and holds up no other.
        """
        decided, skipped = 0, set[str]()
        for _ in range(MAX_TURNS):
            async with self._queue.fan_out(BATCH, skipped) as turn:
                events = list(turn.events)
                for event in events:
                    try:
                        routes = await self._routes(turn, event)
                    except KeyStoreUnavailable as error:
                        log.warning("%s waits for the licenses: %s", event.event_id, error.detail)
                        skipped.add(event.event_id)
                        continue
                    await turn.add(event, routes)
                    decided += 1
            if len(events) < BATCH:
                break
        return decided

    async def _routes(self, turn: Turn, event: Event) -> list[Route]:
        if event.kind == "test":
            return [test_route(event)]
        is_of_all = event.account_id is None
        own = [] if is_of_all and event.kind != "signal_published" else await turn.subscribers(event)
        terms = await self._terms(own) if event.kind == "signal_published" else {}
        found = (
            own_route(event, each.destination_id, each.account_id, terms.get(each.license_id)) for each in own
        )
        return [
            *channel_routes(event, self._channels, self._plans),
            *license_routes(event, mails=self._mails, roles=self._roles),
            *(route for route in found if route is not None),
        ]

    async def _terms(self, own: Sequence[Subscriber]) -> dict[str, Plan]:
        """The terms of the licenses that allow something now."""
        now = self._now()
        ids = sorted({each.license_id for each in own})
        found = await run_for_each(self._licenses.get_license, ids, at_once=AT_ONCE)
        return {
            license_.license_id: self._plans.terms_of(license_)
            for license_ in found
            if license_ is not None and license_refusal(license_, now) is None
        }
