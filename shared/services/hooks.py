"""Takes alerts of publishers whose platform can set no header, and publishes the signals that they mean."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Protocol

import msgspec

from shared.domain.access.hooks import Hook, may_come_from
from shared.domain.access.licenses import Grant, Scope
from shared.domain.market.alert_mapping import AlertMapping
from shared.domain.market.alert_text import read_alert
from shared.domain.market.alerts import Alert, Step, alert_of, with_sender_s_names
from shared.domain.market.messages import SignalMessage
from shared.domain.market.signals import Signal, SignalRequest
from shared.errors import (
    AddressRefused,
    DatabaseUnavailable,
    FieldError,
    NotFound,
    ScopeMissing,
    SignalCloudError,
    Unauthenticated,
    ValidationFailed,
)
from shared.services.access import Admitted
from shared.services.bounded import make_room

# A process asks for a hook again after this time. A hook that has ended is refused at once all the same,
# because its secret is revoked as a key is.
KNOWN_FOR = timedelta(seconds=4)
MAX_KNOWN = 1_000
# Within a second. TradingView gives up after three. An alert that was answered with 5xx, it sends up to three
# times more, five seconds apart.
ANSWER_WITHIN_S = 0.9
RETRY_AFTER_S = 5.0

log = logging.getLogger(__name__)


class HookFinder(Protocol):
    async def of_secret(self, account_id: str, public_id: str) -> Hook | None: ...


class LastSignal(Protocol):
    async def last_of(self, publisher: str, strategy: str, symbol: str) -> Signal | None: ...


class Admit(Protocol):
    def __call__(self, authorization: str | None, scope: Scope) -> Awaitable[Admitted]: ...


class Publish(Protocol):
    def __call__(
        self, grant: Grant, request: SignalRequest, idempotency_key: str | None
    ) -> Awaitable[tuple[SignalMessage, bool]]: ...


class HookAnswer(msgspec.Struct, frozen=True):
    """What became of an alert: `published`, `repeated` if all its signals were published before.

    `nothing_open` says that it was to close a position of which the hook has no open signal. `ignored` are
    names in the alert that mean nothing to the hook's mapping.
    """

    outcome: Literal["published", "repeated", "nothing_open"]
    signals: list[SignalMessage]
    ignored: tuple[str, ...] = ()


class HookService:
    """Admits by a hook's secret, reads by its mapping, publishes as `POST signals` does."""

    def __init__(
        self,
        *,
        admit: Admit,
        hooks: HookFinder,
        last: LastSignal,
        publish: Publish,
        mappings: Mapping[str, AlertMapping],
        address_lists: Mapping[str, Sequence[str]],
        now: Callable[[], datetime],
    ) -> None:
        self._admit = admit
        self._hooks = hooks
        self._last = last
        self._publish = publish
        self._mappings = mappings
        self._address_lists = address_lists
        self._now = now
        self._known: dict[str, tuple[Hook | None, datetime]] = {}

    async def take(
        self, secret: str, address: IPv4Address | IPv6Address | None, read_body: Callable[[], bytes]
    ) -> HookAnswer:
        """Publishes the signals of an alert that came to the hook with this secret, from `address`.

        An alert that came before, by its id or within a minute with the same content, is published once.
        It is answered within ANSWER_WITHIN_S: if we are slower, with DatabaseUnavailable.
        Raises NotFound for a secret that opens no hook, AddressRefused, InvalidInput under the sender's names
        of its fields, what SignalService.publish raises, and what admission raises.
        """
        taking = asyncio.create_task(self._taken(secret, address, read_body))
        await asyncio.wait({taking}, timeout=ANSWER_WITHIN_S)
        if not taking.done():
            # It goes on, because a query that is cancelled waits for the same server.
            taking.add_done_callback(_note_late)
            raise DatabaseUnavailable(
                "The alert took too long. Send it again: it is published once.",
                internal="an alert was not published in time",
                retry_after_s=RETRY_AFTER_S,
            )
        return taking.result()

    async def _taken(
        self, secret: str, address: IPv4Address | IPv6Address | None, read_body: Callable[[], bytes]
    ) -> HookAnswer:
        grant = (await self._admitted(secret)).grant
        hook = await self._hook(grant)
        if not may_come_from(address, hook.addresses, self._address_lists):
            raise AddressRefused(
                f"This hook takes no alerts from {address or 'an unknown address'}; its owner lists the "
                "addresses that it takes them from."
            )
        mapping = self._mapping(hook)
        alert = alert_of(read_alert(read_body(), mapping), mapping)
        if hook.symbols and alert.symbol not in hook.symbols:
            message = f"This hook takes alerts for {', '.join(hook.symbols)}, got {alert.symbol}."
            raise ValidationFailed((FieldError(alert.names["symbol"], "unknown_value", message),))
        try:
            return await self._published(grant, hook, alert)
        except SignalCloudError as error:
            error.errors = with_sender_s_names(error.errors, alert)
            raise

    async def _admitted(self, secret: str) -> Admitted:
        try:
            return await self._admit(f"Bearer {secret}", "hook")
        except (Unauthenticated, ScopeMissing):
            raise _no_hook() from None

    async def _hook(self, grant: Grant) -> Hook:
        now, public_id = self._now(), grant.key.public_id
        hook, until = self._known.get(public_id, (None, now))
        if until <= now:
            hook = await self._hooks.of_secret(grant.license.account_id, public_id)
            self._known.pop(public_id, None)
            make_room(self._known, MAX_KNOWN)
            self._known[public_id] = (hook, now + KNOWN_FOR)
        if hook is None:
            raise _no_hook()
        return hook

    def _mapping(self, hook: Hook) -> AlertMapping:
        if not isinstance(hook.mapping, str):
            return hook.mapping
        found = self._mappings.get(hook.mapping)
        if found is None:
            raise NotFound(f"The mapping {hook.mapping} of this hook is gone; make a hook with another one.")
        return found

    async def _published(self, grant: Grant, hook: Hook, alert: Alert) -> HookAnswer:
        """Publishes one signal a step, in order. If a later step is refused, the earlier ones stay."""
        published: list[SignalMessage] = []
        is_new = False
        for place, step in enumerate(alert.steps):
            request = await self._request(grant, hook, alert, step)
            if request is None:
                continue
            key = None if alert.id is None else f"{hook.hook_id}:{alert.id}:{place}"
            signal, new = await self._publish(grant, request, key)
            published.append(signal)
            is_new = is_new or new
        if not published:
            return HookAnswer("nothing_open", [], alert.ignored)
        return HookAnswer("published" if is_new else "repeated", published, alert.ignored)

    async def _request(self, grant: Grant, hook: Hook, alert: Alert, step: Step) -> SignalRequest | None:
        """The signal of a step; None if it is to close what is not open."""
        side = step.side
        if side is None:
            last = await self._last.last_of(grant.license.account_id, hook.strategy, alert.symbol)
            if last is None or last.kind != "entry":
                return None
            side = last.side
        is_entry = step.kind == "entry"
        return SignalRequest(
            symbol=alert.symbol,
            side=side,
            price=alert.price,
            kind=step.kind,
            strategy=hook.strategy,
            stop_price=alert.stop_price if is_entry else None,
            target_price=alert.target_price if is_entry else None,
            event_at=alert.event_at,
        )


def _note_late(done: asyncio.Task[HookAnswer]) -> None:
    """Logs what became of an alert whose sender was told that it took too long."""
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("an alert that took too long was not published: %s", error)


def _no_hook() -> NotFound:
    return NotFound("There is no such hook. Its address may have been copied in part, rotated or ended.")
