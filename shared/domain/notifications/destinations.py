"""Describes where customers want to be notified, and checks what they give."""

import base64
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from shared.domain.access.keys import RandomBytes, random_base62
from shared.domain.notifications.addresses import MAX_URL, is_below, url_fault
from shared.domain.notifications.events import Event, EventKind
from shared.domain.notifications.routing import CUSTOMER_EVENTS
from shared.domain.problems import Problems

DestinationKind = Literal["webhook", "discord", "slack", "telegram"]
MAX_DESTINATIONS = 10  # of one account
# How long a receiver may check with the former secret after a rotation.
OVERLAP = timedelta(hours=24)
SECRET_PREFIX = "whsec_"  # noqa: S105  # the beginning of every secret, by the Standard Webhooks scheme
_SECRET_BYTES = 32
# The address of a webhook of Discord: what is before its id, and its id and token.
DISCORD_WEBHOOKS = r"https://(?:(?:canary|ptb)\.)?discord(?:app)?\.com/api/(?:v[0-9]{1,2}/)?webhooks/"
DISCORD_WEBHOOK = r"([0-9]{5,32})/([A-Za-z0-9_-]{20,128})/?"
_DISCORD = re.compile(DISCORD_WEBHOOKS + DISCORD_WEBHOOK)
_SLACK = re.compile(
    r"https://hooks\.slack\.com/services/(T[A-Z0-9]{7,15})/(B[A-Z0-9]{7,15})/([A-Za-z0-9]{20,32})/?"
)
_BOT_TOKEN = re.compile(r"[0-9]{5,16}:[A-Za-z0-9_-]{30,64}")
_CHAT = re.compile(r"-?[0-9]{1,20}|@[A-Za-z0-9_]{5,32}")


class DestinationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place to notify: `url` of a webhook, or `bot_token` and `chat_id` of Telegram."""

    kind: DestinationKind
    events: Annotated[list[EventKind], msgspec.Meta(min_length=1, max_length=len(CUSTOMER_EVENTS))]
    url: Annotated[str, msgspec.Meta(max_length=MAX_URL)] | None = None
    bot_token: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    chat_id: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored sealed: the whole address, and the secrets that sign, the newest first.

    After `former_until`, only the first of them signs.
    """

    address: str
    signing: tuple[str, ...] = ()
    former_until: datetime | None = None

    def signing_at(self, now: datetime) -> Sequence[str]:
        return self.signing if self.former_until is not None and now < self.former_until else self.signing[:1]


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """A stored destination. `address` is its part that is no secret; `sealed` is opened to send."""

    destination_id: str
    account_id: str
    license_id: str
    kind: DestinationKind
    events: list[EventKind]
    address: str
    sealed: bytes
    sealed_by: str
    created_at: datetime
    ended_at: datetime | None = None
    ended_because: str | None = None


def checked_address(request: DestinationRequest, stand_in: str) -> tuple[str, str]:
    """The whole address, and its part that may be shown; raises ValidationFailed.

    `stand_in` is an address on this machine below which webhooks are allowed; empty in a deployment.
    """
    problems = Problems()
    for event in sorted({*request.events} - {*CUSTOMER_EVENTS}):
        problems.add("events", "unknown_value", f"{event} is not for customers.")
    needed = ("bot_token", "chat_id") if request.kind == "telegram" else ("url",)
    for name in ("url", "bot_token", "chat_id"):
        if (getattr(request, name) is None) == (name in needed):
            code: Literal["missing", "unknown_field"] = "missing" if name in needed else "unknown_field"
            problems.add(name, code, f"A {request.kind} destination takes {' and '.join(needed)}.")
    if problems:
        raise problems.refusal()
    found = _telegram(request, problems) if request.kind == "telegram" else _url(request, stand_in, problems)
    if problems:
        raise problems.refusal()
    return found


def _telegram(request: DestinationRequest, problems: Problems) -> tuple[str, str]:
    if not _BOT_TOKEN.fullmatch(request.bot_token or ""):
        problems.add("bot_token", "invalid_format", "Expected the token that Telegram's BotFather gave.")
    if not _CHAT.fullmatch(request.chat_id or ""):
        problems.add("chat_id", "invalid_format", "Expected the number of a chat, or @ and a channel's name.")
    return f"tgram://{request.bot_token}/{request.chat_id}", f"chat {request.chat_id}"


def _url(request: DestinationRequest, stand_in: str, problems: Problems) -> tuple[str, str]:
    url = request.url or ""
    if request.kind == "webhook":
        fault = None if is_below(url, stand_in) else url_fault(url)
        if fault is not None:
            problems.add("url", "invalid_format", fault)
        # The path may hold a secret of the receiver.
        return url, "" if fault else f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"[:256]
    pattern = _DISCORD if request.kind == "discord" else _SLACK
    match = pattern.fullmatch(url)
    if match is None:
        example = "discord.com/api/webhooks" if request.kind == "discord" else "hooks.slack.com/services"
        problems.add("url", "invalid_format", f"Expected a webhook's address, such as https://{example}/...")
        return "", ""
    return f"{request.kind}://{'/'.join(match.groups())}", f"{request.kind} webhook {match[1]}"


def new_destination_id(kind: DestinationKind, rng: RandomBytes) -> str:
    """The id says its kind, so that the pace of the kind's vendor is known without the row."""
    return f"{kind}_{random_base62(16, rng)}"


def new_secret(rng: Callable[[int], bytes]) -> str:
    """A new signing secret, by the Standard Webhooks scheme."""
    return SECRET_PREFIX + base64.b64encode(rng(_SECRET_BYTES)).decode()


class WebhookMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook is sent; `GET notifications` lists the same."""

    type: EventKind
    timestamp: datetime
    data: dict[str, str | int | float | None]


def webhook_message(event: Event) -> WebhookMessage:
    about: dict[str, str | int | float | None] = {
        "event_id": event.event_id,
        "account_id": event.account_id,
        "license_id": event.license_id,
    }
    return WebhookMessage(type=event.kind, timestamp=event.at, data=about | event.values)
