"""Verifies that an event comes from our Web PubSub, by access-key signature or Entra ID token."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from shared.domain.access.hub_events import HubEvent
from shared.domain.limits import ClockSkew
from shared.errors import KeyUnknown, RealtimeUnavailable, Unauthenticated

# The audience of the tokens that the service sends; infra/components/realtime.py configures it.
AUDIENCE = "https://webpubsub.azure.com"
AUTHORITY = "https://login.microsoftonline.com"
FETCH_TIMEOUT_S = 5
KEYS_LIFE_S = 6 * 3600
# If a token names an unknown key, the keys are read again, but no more often than this.
REFRESH_EVERY_S = 60.0
# The pause after a failed attempt. Anybody can send to a public address, so not every event may cause one.
RETRY_AFTER_S = 1.0


class AccessKeyProof:
    """Verifies events by the header `ce-signature`, under the access key of a connection string."""

    def __init__(self, connection_string: str) -> None:
        parts = (part.partition("=") for part in connection_string.split(";"))
        fields = {name.strip().lower(): value for name, _, value in parts}
        endpoint = urlsplit(fields.get("endpoint", ""))
        port = fields.get("port")
        self.origin = f"{endpoint.hostname}:{port}" if port else endpoint.netloc
        self._keys = [fields.get("accesskey", "").encode()]

    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None:
        """Raises Unauthenticated."""
        if not is_signed(event.connection_id, headers.get("ce-signature", ""), self._keys):
            raise _refused()


class TokenProof:
    """Verifies events by the Entra ID token that Web PubSub sends: the tenant, audience and identity."""

    def __init__(
        self,
        endpoint: str,
        *,
        tenant_id: str,
        principal_id: str,
        authority: str = AUTHORITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`principal_id` is the object id of Web PubSub's identity; `clock` returns seconds, monotonic."""
        self.origin = urlsplit(endpoint).netloc
        self._principal_id = principal_id
        # The issuers of both versions of the token endpoint; the audience's application chooses the version.
        self._issuers = [f"{AUTHORITY}/{tenant_id}/v2.0", f"https://sts.windows.net/{tenant_id}/"]
        self._keys_url = f"{authority}/{tenant_id}/discovery/v2.0/keys"
        self._clock = clock
        self._keys: dict[str, Any] = {}
        self._unknown_due_at = self._refresh_due_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._failure = ""

    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None:
        """Raises Unauthenticated, and Unavailable while the tenant's keys cannot be read."""
        import jwt

        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise _refused()
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid", ""))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=[AUDIENCE, f"{AUDIENCE}/"],
                issuer=self._issuers,
                leeway=ClockSkew.ENTRA_TOKEN,
                options={"require": ["exp", "iss", "aud", "oid"]},
            )
        except jwt.PyJWTError as error:
            raise _refused(type(error).__name__) from error
        if claims["oid"] != self._principal_id:
            raise _refused("another identity's token")

    async def _key(self, key_id: str) -> Any:
        """Returns the tenant's public key `key_id`; raises Unauthenticated and Unavailable."""
        key = self._keys.get(key_id)
        due_at = self._unknown_due_at if key is None else self._refresh_due_at
        if self._reading is None and self._clock() >= due_at:
            self._reading = asyncio.create_task(self._read())
        if key is None and self._reading is not None:
            # Shielded, because other events wait for the keys even if this one's caller disconnects.
            await asyncio.shield(self._reading)
            key = self._keys.get(key_id)
        if key is not None:
            return key
        if self._failure:
            raise RealtimeUnavailable(
                "Events cannot be verified now; try again.",
                internal=f"the tenant's signing keys cannot be read: {self._failure}",
                retry_after_s=1,
            )
        raise _refused("a key that the tenant does not have")

    async def _read(self) -> None:
        """Reads the keys once for all waiting events. If that fails, the known keys stay in use."""
        import jwt

        client = jwt.PyJWKClient(self._keys_url, cache_jwk_set=False, timeout=FETCH_TIMEOUT_S)
        try:
            found = await asyncio.to_thread(client.get_signing_keys)
        # The directory is unavailable, or its address answers with something else than keys.
        except (jwt.PyJWTError, OSError, ValueError) as error:
            self._failure = f"{type(error).__name__}: {error}"
            self._unknown_due_at = self._refresh_due_at = self._clock() + RETRY_AFTER_S
        else:
            now = self._clock()
            self._unknown_due_at = now + REFRESH_EVERY_S if self._keys else now
            self._refresh_due_at = now + KEYS_LIFE_S
            self._keys = {one.key_id: one.key for one in found if one.key_id}
            self._failure = ""
        finally:
            self._reading = None


def _refused(internal: str = "") -> Unauthenticated:
    return KeyUnknown("Only this deployment's Web PubSub may send events.", internal=internal)


def is_signed(connection_id: str, signatures: str, keys: Sequence[bytes]) -> bool:
    """Whether `signatures` contains the HMAC-SHA256 of the connection's id under one of the access keys."""
    given = [part.strip().removeprefix("sha256=") for part in signatures.split(",")[:4]]
    expected = [hmac.new(key, connection_id.encode(), hashlib.sha256).hexdigest() for key in keys]
    return any(hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected)
