"""Holds one request for its handler: its headers, its body, its caller and the services."""

from collections.abc import Mapping

import azure.functions as func

from functions.web.answers import JSON_TYPE
from functions.web.body_text import refuse_other_charset, unpacked, without_mark
from functions.web.client_address import IPAddress, client_address
from functions.web.parameters import refuse_query
from functions.web.preferences import Handling
from shared.container import Container
from shared.domain.access.licenses import Grant, Scope
from shared.domain.access.rate_limit import RateState
from shared.errors import BodyTooLarge, SessionLost, UnsupportedMediaType
from shared.services.access import Admitted

# curl -d and some bots label JSON as a form. These types are accepted, because the body must parse anyway.
_TAKEN_AS_JSON = (JSON_TYPE, "", "application/x-www-form-urlencoded", "text/plain")


class Call:
    """One request and its services, for a handler; `scope` is None on a public route.

    The body may have `max_body_bytes`, the limit that the route declares. `handling` is what the caller
    prefers on a route whose body may be accepted in part. If the service admits the caller, the query is
    refused with the body (`refuses_query`): a caller that is not admitted learns of neither.
    """

    __slots__ = (
        "_grant",
        "handling",
        "headers",
        "max_body_bytes",
        "rate",
        "refuses_query",
        "request",
        "scope",
        "services",
    )

    def __init__(
        self,
        request: func.HttpRequest,
        headers: Mapping[str, str],
        services: Container,
        scope: Scope | None,
        max_body_bytes: int,
        *,
        refuses_query: bool = False,
    ) -> None:
        self.request = request
        self.headers = headers
        self.services = services
        self.scope = scope
        self.max_body_bytes = max_body_bytes
        self.refuses_query = refuses_query
        self.rate: RateState | None = None
        self.handling: Handling | None = None
        self._grant: Grant | None = None

    @property
    def grant(self) -> Grant:
        """The admitted caller's grant."""
        if self._grant is None:
            raise RuntimeError("this call has not been admitted")
        return self._grant

    @property
    def client_address(self) -> IPAddress | None:
        """The address that the request came from; None if the platform names none."""
        return client_address(self.headers, self.services.settings.front_door_id)

    async def admit(self, *, confidence_key: str | None = None, cost: int = 1) -> Admitted:
        """Admits the caller under the route's scope, and asks the cache for a confidence in the same call.

        Takes `cost` units of the key's rate limit. A call with a Session-Id is a sign of life of that
        session. Raises Unauthenticated, Forbidden (SessionLost if another bot has its place), RateLimited and
        Unavailable.
        """
        if self.scope is None:
            raise RuntimeError("a public route cannot admit a caller")
        admitted = await self.services.access.admit(
            self.header("authorization"), self.scope, confidence_key=confidence_key, cost=cost
        )
        self.rate, self._grant = admitted.rate, admitted.grant
        headers, services = self.headers, self.services
        forwarded = headers.get("x-forwarded-for")
        if services.misuse_counts.is_unseen(admitted.grant, forwarded):
            services.misuse_counts.note_address(admitted.grant, forwarded, self.client_address)
        session_id = headers.get("session-id")
        if session_id is not None and self.scope == "bot":
            try:
                services.leases.note(admitted.grant, session_id)
            except SessionLost:
                await services.access.release(admitted)
                raise
        return admitted

    def is_trusted(self) -> bool:
        """Whether this process has admitted the caller's key before, see AccessService.trusts."""
        return self.services.access.trusts(self.header("authorization"))

    async def meet(self) -> Admitted | None:
        """Judges a caller that is not trusted, without its body; see AccessService.meet."""
        assert self.scope is not None
        admitted = await self.services.access.meet(self.header("authorization"), self.scope)
        if admitted is not None:
            self.rate, self._grant = admitted.rate, admitted.grant
        return admitted

    async def charge(self, units: int) -> None:
        """Takes what the admitted request costs beyond its first unit; raises RateLimited."""
        # Without a limit that counts, or with a limit of one unit, there is nothing left to take.
        if self.rate is not None and min(units, self.rate.limit) > 1:
            self.rate = await self.services.access.charge(self.header("authorization"), self.grant, units)

    def header(self, name: str) -> str | None:
        """The header `name` (in lower case), or None."""
        return self.headers.get(name)

    def raw_body(self) -> bytes:
        """The body exactly as it was sent, for signatures over it; raises BodyTooLarge."""
        body = self.request.get_body()
        if len(body) > self.max_body_bytes:
            raise BodyTooLarge(
                f"The body of this request may have at most {self.max_body_bytes} bytes; "
                f"this one has {len(body)}."
            )
        return body

    def read_body(self) -> bytes:
        """The body, which should be JSON in UTF-8, unpacked and without a byte order mark.

        Raises ValidationFailed for a query, BodyTooLarge, UnsupportedMediaType, and MalformedJson for a body
        that cannot be unpacked.
        """
        if self.refuses_query:
            refuse_query(self.request.url)
        body = self.raw_body()
        given = self.header("content-type")
        if given != JSON_TYPE and given is not None:
            media_type = given.split(";", 1)[0].strip().lower()
            if media_type not in _TAKEN_AS_JSON:
                raise UnsupportedMediaType(f"Send {JSON_TYPE}, not {media_type[:64]}.")
            refuse_other_charset(given)
        if "content-encoding" in self.headers:
            body = unpacked(body, self.headers["content-encoding"], self.max_body_bytes)
        # Nearly every body begins so, and then has no mark.
        return body if body.startswith(b'{"') else without_mark(body)
