"""Gives a license's holder a key by a link that works once, and sends such links to holders who lost theirs.

The link's token needs no row before its use. Its use locks a row, creates the key in Table Storage, and
commits: if the process dies in between, the link still works, and the key that nobody saw is revoked by the
next use.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.claims import (
    Claim,
    Purpose,
    claim_secret,
    claim_token,
    claim_url,
    read_claim,
)
from shared.domain.access.licenses import License, license_refusal
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.try_limits import limits_of_claims, limits_of_requests
from shared.domain.durations import shown_time
from shared.domain.notifications.events import Event, EventKind
from shared.errors import ClaimUsed, LicenseSuspended, NotFound
from shared.services.key_making import CreatedKey
from shared.services.tries import Tries

# After a link for a lost key was used, the other keys work so long, so that running bots can be changed.
OVERLAP = timedelta(hours=24)
# Licenses of one mail address that are sent a link at once.
MAX_LICENSES = 10
# Every request for a link takes as long as the slowest usual one, so that its time tells nobody which mail
# addresses have a license.
REQUEST_S = 0.3

PURPOSES: dict[EventKind, Purpose] = {"license_created": "first_key", "claim_requested": "lost_key"}


class ClaimStore(Protocol):
    def use(self, claim: Claim) -> AbstractAsyncContextManager[datetime | None]: ...


class LicensesOfMail(Protocol):
    async def with_email(self, email: str, limit: int) -> list[License]: ...


class KeyMaker(Protocol):
    async def first(self, license_: License, claim: str) -> CreatedKey: ...
    async def replacement(self, license_: License, claim: str, overlap: timedelta) -> CreatedKey: ...


class LicenseReader(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...


class ClaimedKey(msgspec.Struct, frozen=True):
    """The key that a link gave, shown only once; `others_end_at` is when the license's other keys end."""

    key: str
    license_id: str
    plan: str
    symbols: tuple[str, ...]
    license_expires_at: datetime | None
    others_end_at: datetime | None = None


class ClaimService:
    def __init__(
        self,
        *,
        store: ClaimStore,
        licenses: LicenseReader,
        plans: PlanCatalog,
        keys: KeyMaker,
        of_mail: LicensesOfMail,
        tell: Callable[[Sequence[Event]], Awaitable[None]],
        tries: Tries,
        peppers: Sequence[bytes],
        public_url: str,
        now: Callable[[], datetime],
        request_s: float = REQUEST_S,
    ) -> None:
        """Tokens are made under the first of `peppers`, and read under any of them."""
        self._store = store
        self._licenses = licenses
        self._plans = plans
        self._keys = keys
        self._of_mail = of_mail
        self._tell = tell
        self._tries = tries
        self._secrets = [claim_secret(pepper) for pepper in peppers]
        self._public_url = public_url
        self._now = now
        self._request_s = request_s

    def url_for(self, event: Event) -> str | None:
        """The link that a message about `event` shows to the license's own mail address, and to nobody else.

        The same event has the same link, however often it is sent. None for an event that has no link.
        """
        if event.license_id is None or event.kind not in PURPOSES:
            return None
        token = claim_token(event.license_id, PURPOSES[event.kind], event.at, self._secrets[0])
        return claim_url(self._public_url, token)

    async def use(self, token: str, network: str) -> ClaimedKey:
        """Creates the key of a link, and marks the link as used.

        Raises NotFound, ClaimExpired, ClaimUsed, KeysExceeded, TriesExceeded, Unavailable, and Forbidden if
        the license has ended.
        """
        await self._tries.take_if_counted(limits_of_claims(network))
        claim = read_claim(token, self._secrets, self._now())
        async with self._store.use(claim) as used_at:
            if used_at is not None:
                raise ClaimUsed(
                    f"This claim link was used at {shown_time(used_at)}, and it shows its key only once. "
                    "If you have no key, ask for a new link with the mail address of the license. If it was "
                    "not you who used it, do that too: the new link ends the other keys."
                )
            return await self._key_of(claim)

    async def _key_of(self, claim: Claim) -> ClaimedKey:
        license_ = await self._licenses.get_license(claim.license_id)
        if license_ is None:
            raise NotFound("The license of this claim link does not exist any more.")
        refused = license_refusal(license_, self._now())
        # The key of a suspended license works when the license does again.
        if refused is not None and not isinstance(refused, LicenseSuspended):
            raise refused
        if claim.purpose == "first_key":
            created, others_end_at = await self._keys.first(license_, claim.name), None
        else:
            others_end_at = self._now() + OVERLAP
            created = await self._keys.replacement(license_, claim.name, OVERLAP)
        return ClaimedKey(
            key=created.plain,
            license_id=claim.license_id,
            plan=license_.plan,
            symbols=self._plans.terms_of(license_).symbols,
            license_expires_at=license_.expires_at,
            others_end_at=others_end_at,
        )

    async def request(self, email: str, network: str) -> None:
        """Reports an event for each active license with this mail address, each of which sends it a link.

        The caller learns nothing of what was found, neither by the answer nor by its time. Raises
        TriesExceeded, CacheUnavailable while nothing counts the tries, and DatabaseUnavailable.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        address = email.strip().lower()
        mail_hash = hmac.digest(self._secrets[0], address.encode(), hashlib.sha256).hex()[:32]
        await self._tries.take(limits_of_requests(network, mail_hash))
        now = self._now()
        found = await self._of_mail.with_email(address, MAX_LICENSES)
        events = [
            Event(
                event_id=f"claim_requested.{each.license_id}.{int(now.timestamp())}",
                kind="claim_requested",
                at=now,
                account_id=each.account_id,
                license_id=each.license_id,
                values={"plan": each.plan},
            )
            for each in found
            if license_refusal(each, now) is None
        ]
        if events:
            await self._tell(events)
        await asyncio.sleep(max(0.0, started + self._request_s - clock()))
