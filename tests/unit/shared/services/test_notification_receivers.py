"""A notification goes to its receiver as the receiver is when it is sent."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest

from shared.adapters.notifications.files import shipped_channels, shipped_templates
from shared.adapters.notifications.secret_box import SecretBox
from shared.domain.access.license_changes import suspended
from shared.domain.access.licenses import License
from shared.domain.access.plans import Overrides
from shared.domain.notifications.attempts import SENT, Outcome
from shared.domain.notifications.claiming import Due
from shared.domain.notifications.destinations import Destination, Secrets
from shared.domain.notifications.events import Event
from shared.domain.notifications.messages import Message
from shared.services.notification_receivers import Receivers, vendor_of
from tests.support.access_fakes import Clock
from tests.support.license_plans import PLANS
from tests.support.licenses import changed

LICENSE = "lic_0123456789ab"
ROLES = {"standard": "111111111111111111", "pro": "222222222222222222"}


class World:
    """Senders that note what they are given, and one license with a destination."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[Any, ...]] = []
        self.answer = SENT
        self.license: License | None = License(
            license_id=LICENSE,
            account_id="acct-1",
            overrides=Overrides(symbols=("ES",)),
            email="holder@example.org",
            discord_user_id="333333333333333333",
            created_at=self.clock(),
        )
        self.others: list[License] = []
        self.box = SecretBox(b"p" * 32, None)
        self.ended: list[str] = []
        self.destination: Destination | None = self.a_destination("webhook_0123456789abcdef")
        self.receivers = Receivers(
            senders=SimpleNamespace(any=self, discord=self, webhooks=SimpleNamespace(send=self.webhook)),
            channels=shipped_channels(),
            addresses={
                "NOTIFY_OPS": "slack://a",
                "NOTIFY_COMMUNITY": "discord://b",
                "NOTIFY_MAIL": "mailto://c",
            },
            templates=shipped_templates(),
            licenses=self,
            holders=self,
            plans=PLANS,
            destinations=self,
            opened=self.box.opened,
            roles=ROLES,
            claim_url=lambda event: "https://claim.example/secret",
            now=self.clock,
        )

    def a_destination(self, name: str) -> Destination:
        secrets = Secrets(address="https://example.com/hook", signing=("whsec_new", "whsec_old"))
        return Destination(
            destination_id=name,
            account_id="acct-1",
            license_id=LICENSE,
            kind=name.partition("_")[0],  # type: ignore[arg-type]
            events=["signal_published"],
            address="https://example.com",
            sealed=self.box.seal(name, secrets),
            sealed_by=self.box.name,
            created_at=self.clock(),
        )

    async def get_license(self, license_id: str) -> License | None:
        return self.license

    async def of_discord_user(self, discord_user_id: str, limit: int) -> list[License]:
        held = [self.license, *self.others] if self.license is not None else self.others
        return [each for each in held if each.discord_user_id == discord_user_id]

    async def find(self, destination_id: str) -> Destination | None:
        return self.destination

    async def end(self, destination_id: str, because: str, now: datetime) -> None:
        self.ended.append(because)

    async def send(self, address: str, message: Message, *, to: str | None = None) -> Outcome:
        self.sent.append((address, message, to))
        return self.answer

    async def post(self, address: str, message: Message) -> Outcome:
        self.sent.append(("discord", address, message))
        return self.answer

    async def set_role(self, user_id: str, role_id: str, *, has: bool) -> Outcome:
        self.sent.append((role_id, has))
        return self.answer

    async def webhook(
        self, url: str, secrets: Sequence[str], message_id: str, body: bytes, now: datetime
    ) -> Outcome:
        self.sent.append((url, tuple(secrets), message_id, msgspec.json.decode(body)))
        return self.answer

    async def to(self, lane: str, kind: str = "license_created", **values: Any) -> Outcome:
        event = Event(
            event_id="e",
            kind=kind,  # type: ignore[arg-type]
            at=self.clock(),
            account_id="acct-1",
            license_id=LICENSE,
            values=values,
        )
        return await self.receivers.send(
            Due(notification_id=UUID(int=7), lane=lane, account_id=None, tries=1, event=event)
        )


async def test_a_channel_is_sent_by_its_vendor_and_one_without_address_is_dropped() -> None:
    world = World()
    assert await world.to("channel:ops") == SENT
    assert await world.to("channel:community") == SENT
    assert [entry[0] for entry in world.sent] == ["slack://a", "discord"]
    for name in ("oncall", "gone"):
        assert (await world.to(f"channel:{name}")).kind == "dropped"


async def test_a_mail_goes_to_the_licenses_present_address_with_a_link_that_nobody_else_gets() -> None:
    world = World()
    for kind, has_link in (("license_created", True), ("claim_requested", True), ("license_expired", False)):
        assert await world.to(f"mail:{LICENSE}", kind) == SENT
        address, message, to = world.sent.pop()
        assert (address, to) == ("mailto://c", "holder@example.org")
        assert ("claim.example" in message.text) == has_link
    await world.to("channel:ops", "license_created")
    assert "claim.example" not in str(world.sent)
    world.license = msgspec.structs.replace(world.license, email=None)  # type: ignore[type-var]
    assert (await world.to(f"mail:{LICENSE}")).kind == "dropped"


async def test_roles_follow_the_license_as_it_is_and_not_the_event() -> None:
    world = World()
    assert world.license is not None
    standard, pro = ROLES["standard"], ROLES["pro"]
    active = world.license
    grace = changed(active, grace_until=world.clock() + timedelta(days=3))
    for license_, given in (
        (active, {standard: True, pro: False}),
        (msgspec.structs.replace(active, plan="pro"), {standard: False, pro: True}),
        (grace, {standard: True, pro: False}),
        (suspended(active, "operator"), {standard: False, pro: False}),
    ):
        world.license = license_
        world.sent.clear()
        assert await world.to(f"role:{LICENSE}", "license_suspended") == SENT
        assert dict(world.sent) == given
    world.license = grace
    world.clock.forward(3 * 86_400 + 1)
    world.sent.clear()
    await world.to(f"role:{LICENSE}", "payment_failed")
    assert dict(world.sent) == {standard: False, pro: False}, "the grace is over"
    world.license = msgspec.structs.replace(active, discord_user_id=None)
    assert (await world.to(f"role:{LICENSE}")).kind == "dropped"


async def test_the_end_of_one_license_takes_no_role_that_another_one_gives() -> None:
    world = World()
    assert world.license is not None
    bought_again = msgspec.structs.replace(world.license, license_id="lic_bought_again", plan="pro")
    strangers = msgspec.structs.replace(bought_again, plan="standard", discord_user_id="4" * 18)
    world.license = suspended(world.license, "operator")
    world.others = [bought_again, strangers]
    await world.to(f"role:{LICENSE}", "license_expired")
    assert dict(world.sent) == {ROLES["standard"]: False, ROLES["pro"]: True}


async def test_a_license_that_changes_while_roles_are_set_has_the_last_word() -> None:
    world = World()
    assert world.license is not None
    set_role, ended = world.set_role, suspended(world.license, "operator")

    async def suspend_meanwhile(user_id: str, role_id: str, *, has: bool) -> Outcome:
        world.license = ended
        return await set_role(user_id, role_id, has=has)

    world.set_role = suspend_meanwhile  # type: ignore[method-assign]
    await world.to(f"role:{LICENSE}")
    assert dict(world.sent) == dict.fromkeys(ROLES.values(), False)


async def test_a_role_that_is_refused_is_tried_again() -> None:
    world = World()
    world.answer = Outcome("refused", "404")
    assert (await world.to(f"role:{LICENSE}")).kind == "refused"


async def test_a_webhook_gets_the_event_signed_by_the_present_secret() -> None:
    world = World()
    assert await world.to("own:webhook_0123456789abcdef", "signal_published", symbol="ES") == SENT
    ((url, secrets, message_id, body),) = world.sent
    assert (url, secrets, message_id) == (
        "https://example.com/hook",
        ("whsec_new",),
        f"msg_{UUID(int=7).hex}",
    )
    assert body["type"] == "signal_published"
    assert body["data"] == {
        "event_id": "e",
        "account_id": "acct-1",
        "license_id": LICENSE,
        "symbol": "ES",
    }


@pytest.mark.parametrize("kind", ["discord", "slack", "telegram"])
async def test_other_destinations_get_a_message(kind: str) -> None:
    world = World()
    world.destination = world.a_destination(f"{kind}_0123456789abcdef")
    assert await world.to(f"own:{kind}_0123456789abcdef") == SENT
    assert len(world.sent) == 1


async def test_a_signal_is_not_sent_past_the_end_of_the_license() -> None:
    world = World()
    assert (await world.to("own:webhook_1", "signal_published", symbol="NQ")).kind == "dropped"
    assert world.license is not None
    world.license = suspended(world.license, "operator")
    assert (await world.to("own:webhook_1", "signal_published", symbol="ES")).kind == "dropped"
    assert (await world.to("own:webhook_1", "license_suspended")).kind == "sent"


async def test_a_destination_that_is_gone_ends_and_one_that_was_deleted_is_dropped() -> None:
    world = World()
    world.answer = Outcome("gone", "410 Gone")
    assert (await world.to("own:webhook_1", "test")).kind == "gone"
    assert world.ended == ["410 Gone"]
    assert world.destination is not None
    world.destination = msgspec.structs.replace(world.destination, sealed_by="a pepper that is gone")
    assert (await world.to("own:webhook_1", "test")).kind == "gone"
    world.destination = msgspec.structs.replace(world.destination, ended_at=world.clock())
    assert (await world.to("own:webhook_1", "test")).kind == "dropped"
    world.destination = None
    assert (await world.to("own:webhook_1", "test")).kind == "dropped"


def test_each_lane_has_its_vendor() -> None:
    channels = shipped_channels()
    lanes = ("channel:ops", "channel:gone", "mail:x", "role:x", "own:slack_1", "own:webhook_1")
    assert [vendor_of(lane, channels) for lane in lanes] == [
        *("slack", None, "mail", "role", "slack", "webhook")
    ]


def test_what_is_sealed_opens_for_its_destination_and_its_pepper_alone() -> None:
    world = World()
    destination = world.destination
    assert destination is not None
    assert world.box.opened(destination) is not None
    other = msgspec.structs.replace(destination, destination_id="webhook_ffffffffffffffff")
    assert world.box.opened(other) is None
    assert SecretBox(b"q" * 32, None).opened(destination) is None
    rotated = SecretBox(b"q" * 32, b"p" * 32)
    assert rotated.opened(destination) == world.box.opened(destination)
    assert rotated.name != world.box.name
    assert b"example" not in destination.sealed
