"""Lets customers say where they want to be notified, and shows notifications to them and to operators."""

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

import msgspec

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import ADMISSION, BODY, READ, json_body
from functions.web.routes import Routes
from shared.domain.notifications.attempts import State
from shared.domain.notifications.destinations import DestinationRequest
from shared.services.destinations import (
    AddedDestination,
    DestinationList,
    NewSecret,
    QueuedTest,
    Replayed,
)
from shared.services.notification_lists import MAX_PAGE, NotificationPage, OwnNotificationPage

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"

routes = Routes()


def _uuid(description: str) -> msgspec.Meta:
    expected = "Expected an id of a notification, a UUID."
    return msgspec.Meta(description=description, pattern=_UUID, extra={"expected": expected})


DestinationId = Annotated[
    str,
    msgspec.Meta(
        description="The id of one of the account's destinations.",
        pattern=r"^(webhook|discord|slack|telegram)_[0-9A-Za-z]{16}\Z",
        examples=["webhook_0123456789abcdef"],
        extra={"in": "path", "expected": "Expected the id of a destination."},
    ),
]
_Limit = Annotated[int, msgspec.Meta(description="At most this many.", ge=1, le=MAX_PAGE)]


class DestinationParameters(msgspec.Struct, frozen=True):
    """Names one of the account's destinations."""

    destination_id: DestinationId


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which time on messages are sent again; at most 30 days back."""

    since: datetime


@routes.post(
    "destinations",
    scope="bot",
    summary="Add a place to be notified at: a webhook, of Discord or Slack too, or a chat of Telegram",
    body=json_body(DestinationRequest, body_limits.DESTINATION),
    answer=AddedDestination,
    statuses=((201, "Added; the secret of a webhook is shown now and never again"),),
    problems=(*READ, *BODY, "conflict"),
    holds_secret=True,
)
async def post_destinations(call: Call, request: DestinationRequest) -> Answer:
    """Adds a destination of the account, which is notified of the events that it names."""
    return Answer(await call.services.destinations.add(call.grant, request), 201)


@routes.get(
    "destinations",
    scope="bot",
    summary="Own destinations of notifications",
    answer=DestinationList,
    problems=(*ADMISSION, "database_unavailable"),
)
async def get_destinations(call: Call) -> DestinationList:
    """Lists the account's destinations, without what is secret of them."""
    return await call.services.destinations.list(call.grant)


@routes.delete(
    "destinations/{destination_id}",
    scope="bot",
    summary="Delete an own destination, which is notified no more; idempotent",
    parameters=DestinationParameters,
    answer=None,
    statuses=((204, "Deleted, now or before"),),
    problems=READ,
)
async def delete_destination(call: Call, named: DestinationParameters) -> Answer:
    """Deletes a destination of the account; what waits for it is dropped."""
    await call.services.destinations.delete(call.grant, named.destination_id)
    return Answer(b"", 204)


@routes.post(
    "destinations/{destination_id}/test",
    scope="bot",
    summary="Send a test to an own destination, once a minute; GET notifications shows what became of it",
    parameters=DestinationParameters,
    answer=QueuedTest,
    statuses=((202, "Queued"),),
    problems=(*READ, "not_found"),
)
async def post_destination_test(call: Call, named: DestinationParameters) -> Answer:
    """Queues a test message, which is sent within seconds."""
    return Answer(await call.services.destinations.test(call.grant, named.destination_id), 202)


@routes.post(
    "destinations/{destination_id}/secret",
    scope="bot",
    summary="Rotate the secret of an own webhook: for 24 hours, messages have two signatures",
    parameters=DestinationParameters,
    answer=NewSecret,
    problems=(*READ, "not_found", "conflict"),
    holds_secret=True,
)
async def post_destination_secret(call: Call, named: DestinationParameters) -> NewSecret:
    """Makes a new signing secret, which is shown now and never again."""
    return await call.services.destinations.rotate(call.grant, named.destination_id)


@routes.post(
    "destinations/{destination_id}/replay",
    scope="bot",
    summary="Get the messages of an own destination again, under the ids that they had",
    parameters=DestinationParameters,
    body=json_body(ReplayRequest, body_limits.REPLAY),
    answer=Replayed,
    statuses=((202, "Queued"),),
    problems=(*READ, *BODY, "not_found"),
)
async def post_destination_replay(call: Call, named: DestinationParameters, asked: ReplayRequest) -> Answer:
    """Sends the messages of the destination again that were queued from a time on."""
    replayed = await call.services.destinations.replay(call.grant, named.destination_id, asked.since)
    return Answer(replayed, 202)


class OwnPageParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Selects a page of own notifications."""

    after: Annotated[str, _uuid("next_after of the previous page.")] | None = None
    limit: _Limit = 100


@routes.get(
    "notifications",
    scope="bot",
    summary="Own notifications, oldest first, as webhooks get them, to catch up on what a receiver missed",
    parameters=OwnPageParameters,
    answer=OwnNotificationPage,
    problems=READ,
)
async def get_notifications(call: Call, chosen: OwnPageParameters) -> OwnNotificationPage:
    """Lists what was sent to the account's destinations, with the id and the content of each message."""
    after = UUID(chosen.after) if chosen.after else None
    return await call.services.notification_lists.own(call.grant, after, chosen.limit)


class AllPageParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Selects notifications of all accounts."""

    state: (
        Annotated[
            str,
            msgspec.Meta(
                description="Those in this state: waiting, sent, parked or dropped.",
                pattern=r"^(waiting|sent|parked|dropped)\Z",
                extra={"expected": "Expected waiting, sent, parked or dropped."},
            ),
        ]
        | None
    ) = None
    lane: (
        Annotated[
            str,
            msgspec.Meta(
                description="Those of one receiver, such as channel:ops.",
                pattern=r"^(channel|mail|role|own):[0-9A-Za-z_]{1,100}\Z",
                extra={"expected": "Expected channel, mail, role or own, a colon and a name."},
            ),
        ]
        | None
    ) = None
    before: Annotated[str, _uuid("next_before of the previous page.")] | None = None
    limit: _Limit = 100


@routes.get(
    "ops/notifications",
    scope="ops",
    summary="Notifications of all accounts, newest first: waiting, sent, parked after too many tries",
    parameters=AllPageParameters,
    answer=NotificationPage,
    problems=READ,
)
async def get_all_notifications(call: Call, chosen: AllPageParameters) -> NotificationPage:
    """Lists notifications with their state, tries, last error, and attempts whose answer was lost."""
    before = UUID(chosen.before) if chosen.before else None
    return await call.services.notification_lists.page(
        state=cast("State | None", chosen.state), lane=chosen.lane, before=before, limit=chosen.limit
    )


class RetryParameters(msgspec.Struct, frozen=True):
    """Names one notification."""

    notification_id: Annotated[
        str,
        msgspec.Meta(
            description="The id of a notification that is parked or dropped.",
            pattern=_UUID,
            examples=["01900000-0000-7000-8000-000000000000"],
            extra={"in": "path", "expected": "Expected the id of a notification, a UUID."},
        ),
    ]


@routes.post(
    "ops/notifications/{notification_id}/retry",
    scope="admin",
    summary="Try a parked or dropped notification again, as if it were new",
    parameters=RetryParameters,
    answer=None,
    statuses=((204, "It waits to be tried again"),),
    problems=(*READ, "not_found", "conflict"),
)
async def post_notification_retry(call: Call, named: RetryParameters) -> Answer:
    """Lets a notification be tried again that was given up."""
    await call.services.notification_lists.retry(UUID(named.notification_id), call.grant.actor)
    return Answer(b"", 204)
