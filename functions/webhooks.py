"""Takes the events of payment vendors, and shows operators what became of each."""

from typing import Annotated, Any, cast

import msgspec

from functions.web import body_limits
from functions.web.call import Call
from functions.web.declaration import ADMISSION, PUBLIC, READ, Body
from functions.web.routes import Routes
from shared.domain.limits import MAX_SEQUENCE
from shared.domain.payments.inbox import InboxState, ListedPaymentEvent, PaymentEventPage, PaymentFilter
from shared.services.payment_inbox import MAX_LISTED

routes = Routes()

_REFUSED = (
    "signature_invalid",
    "signature_expired",
    "body_too_large",
    "malformed_json",
    "validation_failed",
    "database_unavailable",
)
_BODY = Body(kinds=(dict[str, Any],), max_bytes=body_limits.WEBHOOK)
_STORED = ((204, "The event is stored, now or before"),)


@routes.post(
    "webhooks/stripe",
    scope=PUBLIC,
    summary="For Stripe: an event, signed by the header Stripe-Signature",
    body=_BODY,
    answer=None,
    statuses=_STORED,
    problems=_REFUSED,
)
async def post_stripe_event(call: Call) -> None:
    """Stores an event of Stripe; a timer applies it to its license within seconds."""
    await call.services.payment_inbox.take_stripe(call.headers, call.raw_body)


@routes.post(
    "webhooks/whop",
    scope=PUBLIC,
    summary="For Whop: an event, signed by the headers of Standard Webhooks",
    body=_BODY,
    answer=None,
    statuses=_STORED,
    problems=_REFUSED,
)
async def post_whop_event(call: Call) -> None:
    """Stores an event of Whop; a timer applies it to its license within seconds."""
    await call.services.payment_inbox.take_whop(call.headers, call.raw_body)


class PaymentEventParameters(msgspec.Struct, frozen=True):
    """Chooses and pages a list of payment events."""

    state: (
        Annotated[
            str,
            msgspec.Meta(
                description="Only events of this state: received, applied, ignored or failed.",
                pattern=r"^(received|applied|ignored|failed)\Z",
                examples=["failed"],
                extra={"expected": "Expected received, applied, ignored or failed."},
            ),
        ]
        | None
    ) = None
    subject: (
        Annotated[
            str,
            msgspec.Meta(
                description="Only events of this subscription or membership.",
                max_length=300,
                examples=["stripe:sub_123"],
            ),
        ]
        | None
    ) = None
    before: Annotated[
        int,
        msgspec.Meta(
            description="Only events with a lower id: `next_before` of the page before; 0 for the newest.",
            ge=0,
            le=MAX_SEQUENCE,
        ),
    ] = 0
    limit: Annotated[int, msgspec.Meta(description="At most this many.", ge=1, le=MAX_LISTED)] = 100


@routes.get(
    "ops/payment-events",
    scope="ops",
    summary="Events of payment vendors, the newest first, with what became of each",
    parameters=PaymentEventParameters,
    answer=PaymentEventPage,
    problems=READ,
)
async def get_payment_events(call: Call, chosen: PaymentEventParameters) -> PaymentEventPage:
    """Lists stored events of all payment vendors."""
    wanted = PaymentFilter(
        before=chosen.before or None,
        state=cast("InboxState | None", chosen.state),
        subject=chosen.subject,
    )
    return await call.services.payment_inbox.list(wanted, chosen.limit)


class PaymentEventPath(msgspec.Struct, frozen=True):
    """Names a payment event."""

    payment_event_id: Annotated[
        int,
        msgspec.Meta(description="The id that the list shows.", ge=1, le=MAX_SEQUENCE, extra={"in": "path"}),
    ]


@routes.post(
    "ops/payment-events/{payment_event_id}/run",
    scope="admin",
    summary="Applies a payment event again, such as a failed one whose cause is mended",
    parameters=PaymentEventPath,
    answer=ListedPaymentEvent,
    problems=(*ADMISSION, "validation_failed", "not_found", "conflict", "database_unavailable"),
)
async def run_payment_event(call: Call, chosen: PaymentEventPath) -> ListedPaymentEvent:
    """Makes an event due; the timer applies it, with all others of its subscription, within seconds."""
    return await call.services.payment_inbox.run_again(chosen.payment_event_id)
