"""Describes declared routes, and applies a declaration to one call."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from functions.web.answers import JSON_TYPE, Answer
from functions.web.call import Call
from functions.web.parameters import read_parameters, refuse_query
from functions.web.preferences import handling_of
from functions.web.problems import STATUS_OF_CODE
from shared.domain.access.licenses import Scope
from shared.domain.access.rate_limit import units_of
from shared.domain.decoding import decode
from shared.errors import ConfigurationError

PUBLIC: Literal["public"] = "public"

# The problem codes of common steps. A route lists the steps that it takes, and its own codes.
ADMISSION = (
    *(
        code
        for code in STATUS_OF_CODE
        if code.startswith(("key_", "license_")) and code != "key_store_unavailable"
    ),
    "scope_missing",
    "rate_limited",
    "key_store_unavailable",
)
BODY = ("malformed_json", "validation_failed", "unknown_field", "body_too_large", "unsupported_media_type")
QUERY = ("unknown_field",)
WRITE = (*ADMISSION, *BODY, "symbol_not_licensed", "database_unavailable")
READ = (*ADMISSION, "validation_failed", "unknown_field", "database_unavailable")

Handler = Callable[..., Awaitable[Any]]


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The accepted bodies of a route, and the function that reads them.

    `kinds` are types, or names of schemas that functions/openapi.py builds. `read` turns the bytes into the
    handler's argument; without it, the handler reads the body itself. If the body is not `required`, an
    empty one counts as `{}`. A body over `max_bytes` (functions/web/body_limits.py) is refused unread. If it
    may be accepted `in_part`, the header Prefer says whether a bad item refuses all.
    """

    kinds: tuple[Any, ...]
    max_bytes: int
    read: Callable[[bytes], Any] | None = None
    required: bool = True
    in_part: bool = False


def json_body(kind: Any, max_bytes: int, *, required: bool = True) -> Body:
    """A JSON body that is decoded as `kind`."""
    return Body(kinds=(kind,), max_bytes=max_bytes, read=lambda body: decode(body, kind), required=required)


class Cost(msgspec.Struct, frozen=True):
    """What a request takes from the rate limit: `units`, or one for each `per_unit` items of its body.

    `items` names them for the documentation, such as trades.
    """

    units: int = 1
    per_unit: int = 0
    items: str = ""

    def of(self, count: int) -> int:
        """The units of a body with `count` items."""
        return units_of(count, self.per_unit)

    @property
    def text(self) -> str:
        """The sentence of the documentation; empty for one unit."""
        if self.per_unit:
            return (
                f"Costs 1 request of the rate limit for each {self.per_unit} {self.items}, or part of them."
            )
        return f"Costs {self.units} requests of the rate limit." if self.units > 1 else ""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path below /api: its callers, its input, its answer and its problems."""

    method: str
    path: str
    function: str
    scope: Scope | Literal["public"]
    summary: str
    answer: Any
    statuses: tuple[tuple[int, str], ...] = ((200, "Done"),)
    media_type: str = JSON_TYPE
    # Media types in which the answer may come as a file instead.
    files: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    parameters: Any = None
    body: Body | None = None
    cost: Cost = Cost()
    # The service admits the caller through Call.admit, together with its own lookup in the cache.
    admits_in_service: bool = False
    # Answers instead of the handler if the deployment's settings are wrong.
    if_misconfigured: Callable[[ConfigurationError], Answer] | None = None
    # Never compressed: the size of a secret that is compressed beside a caller's text gives it away (BREACH).
    holds_secret: bool = False

    @property
    def operation_id(self) -> str:
        first, *others = self.function.split("_")
        return first + "".join(part.capitalize() for part in others)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the host routes here: each GET also answers HEAD."""
        return (self.method, "HEAD") if self.method == "GET" else (self.method,)

    @property
    def endpoint_admits(self) -> bool:
        """Whether the caller is admitted before the handler is called."""
        return self.scope != PUBLIC and not self.admits_in_service

    async def arguments(self, call: Call) -> list[Any]:
        """Admits the caller, reads parameters and body, and returns the handler's arguments.

        Raises Unauthenticated, Forbidden, RateLimited, Unavailable and InvalidInput.
        """
        if self.endpoint_admits:
            await call.admit(cost=self.cost.units)
        arguments: list[Any] = [call]
        url = call.request.url
        if self.parameters is not None:
            route_params = call.request.route_params
            arguments.append(read_parameters(self.parameters, url, call.headers, route_params))
        elif self.method != "OPTIONS":
            # An OPTIONS asks about the address; the methods there say what parameters they take.
            refuse_query(url)
        if self.body is not None and self.body.read is not None:
            if self.body.in_part:
                call.handling = handling_of(call.header("prefer"))
            body = call.read_body()
            content = self.body.read(body if body or self.body.required else b"{}")
            if self.cost.per_unit:
                await call.charge(self.cost.of(len(content)))
            arguments.append(content)
        return arguments

    def encoded(self, value: Any) -> Answer:
        """The answer for the value that the handler returned."""
        if isinstance(value, Answer):
            return value
        status, _ = self.statuses[0]
        return Answer(b"" if value is None else value, status, self.media_type)
