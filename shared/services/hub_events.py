"""Decides which clients Web PubSub may connect, and counts the connections that it reports."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.client_access import (
    ACCESS_URL_LIFETIME,
    ClientAccessToken,
    require_groups,
    token_in,
)
from shared.domain.access.connections import Opening
from shared.domain.access.hub_events import ConnectRequest, HubEvent
from shared.domain.access.licenses import ApiKey, Grant, License, refusal, scope_refusal
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.sessions import SessionRecord
from shared.domain.decoding import decode
from shared.domain.limits import ClockSkew
from shared.errors import (
    AccessUrlUsed,
    FieldError,
    Forbidden,
    KeyUnknown,
    SessionLost,
    SignalCloudError,
    Unauthenticated,
    Unavailable,
    ValidationFailed,
)
from shared.metrics import Count, Counter
from shared.services.bounded import make_room

# A URL that has connected is remembered until its token has expired by the hub's clock.
URL_LIFE = ACCESS_URL_LIFETIME + ClockSkew.MARKET_DATA
# A license or key that has ended may be resumed, so its refusal is remembered for a moment only.
REFUSED_FOR = timedelta(seconds=2)
MAX_REMEMBERED = 10_000
_USED = "A client access URL connects once: negotiate for each connection."


class Proof(Protocol):
    @property
    def origin(self) -> str: ...
    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None: ...


class KeyReader(Protocol):
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def get_license(self, license_id: str) -> License | None: ...


class SessionCheck(Protocol):
    async def confirm(self, grant: Grant, session_id: str) -> SessionRecord | None: ...


class Presence(Protocol):
    def refuse_if_full(self, license_id: str, account_id: str) -> None: ...
    async def open(self, opening: Opening, account_id: str) -> None: ...
    async def close(self, connection_id: str, account_id: str) -> None: ...


class _Judged(msgspec.Struct, frozen=True):
    """The judgement of a client access URL until a time: the connection that it opened, or its refusal."""

    connection_id: str
    until: datetime
    refused: SignalCloudError | None = None


class HubEventService:
    """Judges events of the hub; `count` adds to a count."""

    def __init__(
        self,
        *,
        proof: Proof,
        keys: KeyReader,
        plans: PlanCatalog,
        presence: Presence,
        sessions: SessionCheck,
        now: Callable[[], datetime],
        count: Counter,
    ) -> None:
        self._proof = proof
        self._keys = keys
        self._plans = plans
        self._presence = presence
        self._sessions = sessions
        self._now = now
        self._count = count
        self._judging: set[str] = set()  # nonces
        self._judged: dict[str, _Judged] = {}  # by nonce, the oldest first

    def allowed_origin(self, asked: str) -> str:
        """The origin that may send events here; raises ValidationFailed if another one asks."""
        if asked.lower() != self._proof.origin.lower():
            error = FieldError("webhook-request-origin", "unknown_value", f"Expected {self._proof.origin}.")
            raise ValidationFailed((error,), "Only this deployment's Web PubSub may send events.")
        return asked

    async def take(self, event: HubEvent, headers: Mapping[str, str], read_body: Callable[[], bytes]) -> None:
        """Verifies the event's sender, refuses clients that may not connect, and counts connections.

        Raises Unauthenticated, Forbidden, ConnectionsExceeded, Unavailable, and InvalidInput for a body that
        is no connect request.
        """
        await self._proof.check(event, headers)
        if event.kind == "connect":
            await self._judge_connect(event, decode(read_body(), ConnectRequest))
        elif event.kind == "connected":
            self._count(Count.CONNECTIONS_OPENED)
        else:
            self._count(Count.CONNECTIONS_CLOSED)
            await self._presence.close(event.connection_id, event.user_id)

    async def _judge_connect(self, event: HubEvent, request: ConnectRequest) -> None:
        """Refuses a client whose license or key allows nothing now, or whose URL was used, or whose session
        is over, or that is too many.

        A client access URL outlives the judgement of `negotiate`, and closing connections is no ban. So this
        asks the source of truth again, and not Redis, which may hang, be empty or be out of date. While it
        cannot be asked, clients are refused with 503; they try again. What this process knows already costs
        no look-up, because no limit counts attempts to connect.
        """
        try:
            token = token_in(request.groups)
            if token is None:
                raise KeyUnknown("This client access URL names no license and no key; negotiate again.")
            if token.nonce in self._judging:
                # So one URL that opens a thousand sockets costs one look-up.
                raise AccessUrlUsed(_USED)
            self._refuse_if_judged(event, token.nonce)
            self._presence.refuse_if_full(token.license_id, event.user_id)
            self._judging.add(token.nonce)
            try:
                await self._open(event, token, request.joinable)
                self._remember(token.nonce, _Judged(event.connection_id, self._now() + URL_LIFE))
            except AccessUrlUsed as refused:
                self._remember(token.nonce, _Judged("", self._now() + URL_LIFE, refused))
                raise
            except (Forbidden, Unauthenticated) as refused:
                self._remember(token.nonce, _Judged("", self._now() + REFUSED_FOR, refused))
                raise
            finally:
                self._judging.discard(token.nonce)
        except Unavailable:
            raise
        except SignalCloudError:
            self._count(Count.CONNECTIONS_REFUSED)
            raise

    def _refuse_if_judged(self, event: HubEvent, nonce: str) -> None:
        """Raises the refusal of a URL that this process has judged lately; the same event may come twice."""
        judged = self._judged.get(nonce)
        if judged is None or judged.connection_id == event.connection_id:
            return
        if self._now() >= judged.until:
            del self._judged[nonce]
        elif judged.refused is None:
            raise AccessUrlUsed(_USED)
        else:
            # Without the traceback of the first time, to which each raising would add.
            raise judged.refused.with_traceback(None)

    def _remember(self, nonce: str, judged: "_Judged") -> None:
        make_room(self._judged, MAX_REMEMBERED)
        self._judged[nonce] = judged

    async def _open(self, event: HubEvent, token: ClientAccessToken, joinable: Sequence[str]) -> None:
        key, license_ = await asyncio.gather(
            self._keys.get_key(token.public_id), self._keys.get_license(token.license_id)
        )
        if (
            key is None
            or license_ is None
            or key.license_id != license_.license_id
            or license_.account_id != event.user_id
        ):
            raise KeyUnknown("The license or the key of this client access URL does not exist.")
        grant = self._plans.grant(license_, key)
        refused = refusal(grant, self._now()) or scope_refusal(grant, "bot")
        if refused is not None:
            raise refused
        require_groups(grant.terms, joinable)
        session_id, session = token.session_id, None
        if session_id is not None:
            session = await self._sessions.confirm(grant, session_id)
        elif grant.terms.session_required:
            raise SessionLost("The license's plan needs a session: negotiate with an instance.")
        limit = grant.terms.connections
        opening = Opening(event.connection_id, license_.license_id, token.nonce, limit, session_id, session)
        await self._presence.open(opening, license_.account_id)
