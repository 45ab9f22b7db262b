"""Serves the page of claim links, gives their keys, and sends new links to holders who lost their keys."""

from typing import Annotated

import msgspec

from functions.web import body_limits
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import BODY, PUBLIC, json_body
from functions.web.pages import HTML, SCRIPT, STYLE, page, part
from functions.web.routes import Routes
from shared.domain.access.try_limits import network_of
from shared.services.claims import ClaimedKey

MAX_TOKEN = 128
MAX_EMAIL = 254

routes = Routes()


class ClaimParameters(msgspec.Struct, frozen=True):
    """Names a claim link."""

    token: Annotated[
        str,
        msgspec.Meta(
            description="The last part of the claim link.",
            min_length=1,
            max_length=MAX_TOKEN,
            extra={"in": "path"},
        ),
    ]


class ClaimRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mail address of a license whose holder has no key."""

    email: Annotated[
        str, msgspec.Meta(max_length=MAX_EMAIL, pattern=r"^[!-?A-~]{1,64}@[0-9A-Za-z.-]{1,189}\Z")
    ]


class ClaimRequested(msgspec.Struct, frozen=True):
    """What happens next; the same if no license was found."""

    detail: str


REQUESTED = ClaimRequested(
    "If an active license has this mail address, a link is on its way there. It works once, for a day. If "
    "nothing comes within ten minutes, look for it among unwanted mail, or ask where you bought the license."
)


@routes.get(
    "claim/{token}",
    scope=PUBLIC,
    summary="The page of a claim link; to open it does not use the link",
    parameters=ClaimParameters,
    answer=str,
    media_type=HTML,
    problems=("validation_failed",),
)
async def get_claim_page(call: Call, parameters: ClaimParameters) -> Answer:
    """Shows the page that uses the link when its holder presses a button; mail scanners only open it."""
    return page("claim.html")


@routes.get("static/claim.js", scope=PUBLIC, summary="The claim page's script", answer=str, media_type=SCRIPT)
async def get_claim_script(call: Call) -> Answer:
    """Shows the script of the claim page."""
    return part("claim.js", SCRIPT)


@routes.get("static/claim.css", scope=PUBLIC, summary="The claim page's style", answer=str, media_type=STYLE)
async def get_claim_style(call: Call) -> Answer:
    """Shows the style of the claim page."""
    return part("claim.css", STYLE)


@routes.post(
    "claim/{token}",
    scope=PUBLIC,
    summary="Use a claim link: its API key, once",
    holds_secret=True,
    parameters=ClaimParameters,
    answer=ClaimedKey,
    problems=(
        *("validation_failed", "not_found", "claim_used", "claim_expired", "keys_exceeded", "tries_exceeded"),
        *("license_revoked", "license_expired", "database_unavailable", "key_store_unavailable"),
    ),
)
async def use_claim(call: Call, parameters: ClaimParameters) -> ClaimedKey:
    """Creates the key of the link and shows it; later uses of the link are refused."""
    return await call.services.claims.use(parameters.token, network_of(call.client_address))


@routes.post(
    "claims",
    scope=PUBLIC,
    summary="Ask for a claim link by mail; the answer is the same whether a license was found or not",
    body=json_body(ClaimRequest, body_limits.CLAIM),
    answer=ClaimRequested,
    statuses=((202, "A link is sent if an active license has this mail address"),),
    problems=(*BODY, "tries_exceeded", "cache_unavailable", "database_unavailable"),
)
async def request_claim(call: Call, request: ClaimRequest) -> Answer:
    """Sends a claim link to the mail address, for each active license that has it."""
    await call.services.claims.request(request.email, network_of(call.client_address))
    return Answer(REQUESTED, 202)
