"""Sends one notification to its receiver, as the receiver is now, and not as it was at the event."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from shared.domain.access.licenses import License, license_refusal
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.notifications.attempts import SENT, Outcome
from shared.domain.notifications.channels import MAIL_SETTING, ChannelCatalog, Vendor
from shared.domain.notifications.claiming import Due
from shared.domain.notifications.destinations import Destination, Secrets, webhook_message
from shared.domain.notifications.events import Event
from shared.domain.notifications.lanes import Lane, parse_lane
from shared.domain.notifications.messages import CLAIM, Message, Templates

# What one user at Discord may hold; a role of what is beyond is not seen.
_MAX_HELD = 50
# A role is set again if the license changes meanwhile, at most so often.
_ROLE_ROUNDS = 3
# By the beginning of a destination's id.
_VENDOR_OF_OWN: Mapping[str, Vendor] = {"discord": "discord", "slack": "slack", "telegram": "telegram"}


class Licenses(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...


class Holders(Protocol):
    async def of_discord_user(self, discord_user_id: str, limit: int) -> list[License]: ...


class Destinations(Protocol):
    async def find(self, destination_id: str) -> Destination | None: ...
    async def end(self, destination_id: str, because: str, now: datetime) -> None: ...


class AnySender(Protocol):
    async def send(self, address: str, message: Message, *, to: str | None = None) -> Outcome: ...


class DiscordSender(Protocol):
    async def post(self, address: str, message: Message) -> Outcome: ...
    async def set_role(self, user_id: str, role_id: str, *, has: bool) -> Outcome: ...


class WebhookSender(Protocol):
    async def send(
        self, url: str, secrets: Sequence[str], message_id: str, body: bytes, now: datetime
    ) -> Outcome: ...


class Senders(Protocol):
    """The ways to send."""

    @property
    def any(self) -> AnySender: ...
    @property
    def discord(self) -> DiscordSender: ...
    @property
    def webhooks(self) -> WebhookSender: ...


def message_id_of(notification_id: UUID) -> str:
    """The id under which receivers see a notification, the same at each attempt."""
    return f"msg_{notification_id.hex}"


def vendor_of(lane: str, channels: ChannelCatalog) -> Vendor | None:
    """The vendor whose pace counts for a lane; None for a channel that does not exist any more."""
    kind, name = parse_lane(lane)
    if kind == "channel":
        channel = channels.get(name)
        return None if channel is None else channel.kind
    return _VENDOR_OF_OWN.get(name.partition("_")[0], "webhook") if kind == "own" else kind


class Receivers:
    """Every way from a lane to its receiver."""

    def __init__(
        self,
        *,
        senders: Senders,
        channels: ChannelCatalog,
        addresses: Mapping[str, str],
        templates: Templates,
        licenses: Licenses,
        holders: Holders,
        plans: PlanCatalog,
        destinations: Destinations,
        opened: Callable[[Destination], Secrets | None],
        roles: Mapping[str, str],
        claim_url: Callable[[Event], str | None],
        now: Callable[[], datetime],
    ) -> None:
        """`addresses` are those of channels and of the mail server, by the names of their settings.

        `opened` opens what a destination has sealed. `roles` are those at Discord, by plan. `claim_url` makes
        the link at which the holder of a license fetches its key, for an event that has one.
        """
        self._senders = senders
        self._channels = channels
        self._addresses = addresses
        self._templates = templates
        self._licenses = licenses
        self._holders = holders
        self._plans = plans
        self._destinations = destinations
        self._opened = opened
        self._roles = roles
        self._claim_url = claim_url
        self._now = now

    async def send(self, due: Due) -> Outcome:
        """Makes one attempt; raises Unavailable if we cannot learn to whom."""
        lane = parse_lane(due.lane)
        match lane.kind:
            case "channel":
                return await self.to_channel(lane.name, due.event)
            case "mail":
                return await self._mail(lane.name, due.event)
            case "role":
                return await self._role(lane.name)
            case "own":
                return await self._own(lane, due)

    async def to_channel(self, name: str, event: Event) -> Outcome:
        """Sends to a channel of operators."""
        channel = self._channels.get(name)
        address = self._addresses.get(channel.setting, "") if channel is not None else ""
        if channel is None or not address:
            return Outcome("dropped", "There is no such channel, or it has no address.")
        message = self._templates.render(event, channel.kind)
        if channel.kind == "discord":
            return await self._senders.discord.post(address, message)
        return await self._senders.any.send(address, message)

    async def _mail(self, license_id: str, event: Event) -> Outcome:
        license_ = await self._licenses.get_license(license_id)
        if license_ is None or license_.email is None:
            return Outcome("dropped", "The license has no mail address.")
        # The link is in no stored row: it is made here, and goes to the holder's own address alone.
        link = self._claim_url(event)
        return await self.to_mail(license_.email, event, None if link is None else {CLAIM: link})

    async def to_mail(self, to: str, event: Event, secret: Mapping[str, str] | None = None) -> Outcome:
        """Sends a mail to an address; `secret` are values that no stored row has."""
        server = self._addresses.get(MAIL_SETTING, "")
        if not server:
            return Outcome("dropped", "There is no mail server.")
        return await self._senders.any.send(server, self._templates.render(event, "mail", secret), to=to)

    async def _role(self, license_id: str) -> Outcome:
        """Gives the roles of all licenses of the holder, as they are now, and takes the others.

        A customer who bought again has two licenses for a while, and the end of the first takes nothing.
        """
        outcome = SENT
        wanted: set[str] | None = None
        for _ in range(_ROLE_ROUNDS):
            license_ = await self._licenses.get_license(license_id)
            user_id = license_.discord_user_id if license_ is not None else None
            if license_ is None or user_id is None:
                return Outcome("dropped", "The license has no user at Discord.")
            held = await self._holders.of_discord_user(user_id, _MAX_HELD)
            others = [each for each in held if each.license_id != license_id]
            now_wanted = {self._wanted_role(each) for each in (license_, *others)}
            if wanted is not None and now_wanted == wanted:
                break
            wanted = now_wanted
            for role_id in sorted(set(self._roles.values())):
                outcome = await self._senders.discord.set_role(user_id, role_id, has=role_id in wanted)
                if outcome.kind != "sent":
                    return outcome
        return outcome

    def _wanted_role(self, license_: License) -> str:
        """The id of the role that the license gives its holder; empty if it gives none."""
        is_active = license_refusal(license_, self._now()) is None
        return self._roles.get(license_.plan, "") if is_active else ""

    async def _own(self, lane: Lane, due: Due) -> Outcome:
        destination = await self._destinations.find(lane.name)
        if destination is None or destination.ended_at is not None:
            return Outcome("dropped", "The destination was deleted, or has ended.")
        if due.event.kind == "signal_published" and not await self._is_covered(destination, due.event):
            return Outcome("dropped", "The license does not cover the signal any more.")
        secrets = self._opened(destination)
        if secrets is None:
            return Outcome(
                "gone", "The address cannot be opened: its key is gone. Add the destination again."
            )
        outcome = await self._to_own(destination, secrets, due)
        if outcome.kind == "gone":
            await self._destinations.end(destination.destination_id, outcome.error, self._now())
        return outcome

    async def _is_covered(self, destination: Destination, event: Event) -> bool:
        license_ = await self._licenses.get_license(destination.license_id)
        if license_ is None or license_refusal(license_, self._now()) is not None:
            return False
        return event.values.get("symbol") in self._plans.terms_of(license_).symbols

    async def _to_own(self, destination: Destination, secrets: Secrets, due: Due) -> Outcome:
        if destination.kind == "webhook":
            now = self._now()
            body = msgspec.json.encode(webhook_message(due.event))
            message_id = message_id_of(due.notification_id)
            signing = secrets.signing_at(now)
            return await self._senders.webhooks.send(secrets.address, signing, message_id, body, now)
        message = self._templates.render(due.event, destination.kind)
        if destination.kind == "discord":
            return await self._senders.discord.post(secrets.address, message)
        return await self._senders.any.send(secrets.address, message)
