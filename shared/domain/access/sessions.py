"""Describes sessions: the places of a license and symbol that running bots hold.

A bot names its instance and takes one place of each symbol that it trades, all or none. The place is its own
for LEASE, which each sign of life renews. shared/adapters/redis/lua/sessions.lua decides.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec

from shared.domain.access.keys import RandomBytes, random_base62
from shared.errors import SessionLost, SessionTaken

LEASE = timedelta(seconds=60)
# A process renews a session about this often while the bot calls.
RENEW_EVERY_S = 15.0
# So a call learns within this time that another bot has taken its session: one renewal, and its way to Redis.
NOTICED_WITHIN_S = 17
# An ended session is refused for this long, by every process, whatever they remember of it.
ENDED_FOR = timedelta(minutes=10)
# Of each license; more would only let one bot fill the memory by taking over again and again.
MAX_ENDED = 50

_PREFIX = "ses_"
SESSION_ID_PATTERN = rf"^{_PREFIX}[0-9A-Za-z]{{20}}\Z"
_SESSION_ID = re.compile(SESSION_ID_PATTERN)

Instance = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
Version = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._+-]{1,32}\Z")]
EndReason = Literal["", "taken_over", "replaced", "released", "expired", "ended_by_operator", "license_ended"]


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One session as Redis keeps it; times are milliseconds since 1970 by the clock of Redis.

    `public_id` is the key that last used it. With `ended_ms` it is over, for `reason`, through the instance
    `by`.
    """

    session_id: str
    instance: str
    version: str = ""
    public_id: str = ""
    places: int
    symbols: tuple[str, ...]
    since_ms: int
    expires_ms: int
    ended_ms: int = 0
    reason: EndReason = ""
    by: str = ""

    @property
    def has_ended(self) -> bool:
        return self.ended_ms > 0


class SessionClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A bot that wants one of `places` places of each symbol.

    It gets the id `session_id`, or keeps `former` if that is its session already. With `force`, it takes the
    places over from others.
    """

    license_id: str
    public_id: str
    places: int
    session_id: str
    former: str
    instance: str
    version: str
    symbols: tuple[str, ...]
    force: bool


class Taken(msgspec.Struct, frozen=True):
    """The session that a bot has now, and those that ended for it.

    `has_dropped` says that it is the bot's former session, without a symbol that it had.
    """

    record: SessionRecord
    ended: tuple[SessionRecord, ...] = ()
    has_dropped: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The sessions in the way, and the seconds after which a place is free if they are not renewed."""

    holders: tuple[SessionRecord, ...]
    wait_s: float


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """A sign of life of a session. `copy` restores it if Redis has lost it.

    Without `public_id` and `places`, those of its record stay.
    """

    license_id: str
    session_id: str
    public_id: str = ""
    places: int = 0
    copy: SessionRecord | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A place of each of its symbols, held by one running bot until `expires_at`, or longer if it is renewed.

    `is_confirmed` is false while the store of sessions is unavailable: then nobody is refused, and the places
    are given out again afterwards.
    """

    session_id: str
    instance: str
    version: str | None
    symbols: tuple[str, ...]
    since: datetime
    expires_at: datetime
    is_confirmed: bool = True


def new_session_id(rng: RandomBytes) -> str:
    return _PREFIX + random_base62(20, rng)


def is_session_id(text: str) -> bool:
    return _SESSION_ID.match(text) is not None


def session_of(record: SessionRecord, *, is_confirmed: bool = True) -> Session:
    """What a caller sees of a record."""
    return Session(
        session_id=record.session_id,
        instance=record.instance,
        version=record.version or None,
        symbols=record.symbols,
        since=_time_of(record.since_ms),
        expires_at=_time_of(record.expires_ms),
        is_confirmed=is_confirmed,
    )


def unconfirmed_record(claim: SessionClaim, now: datetime) -> SessionRecord:
    """The session of a claim that Redis could not judge; the place may turn out to be another bot's."""
    now_ms = _milliseconds(now)
    return SessionRecord(
        session_id=claim.former or claim.session_id,
        instance=claim.instance,
        version=claim.version,
        public_id=claim.public_id,
        places=claim.places,
        symbols=claim.symbols,
        since_ms=now_ms,
        expires_ms=now_ms + _milliseconds_of(LEASE),
    )


def ended_record(record: SessionRecord, reason: EndReason, now: datetime) -> SessionRecord:
    return msgspec.structs.replace(record, ended_ms=_milliseconds(now), reason=reason)


def session_taken(refused: Refused) -> SessionTaken:
    """The refusal of a bot whose places others hold: who, since when, and how long to wait."""
    described = "; ".join(_holder_text(record) for record in refused.holders[:3])
    more = f" and {len(refused.holders) - 3} more" if len(refused.holders) > 3 else ""
    return SessionTaken(
        f"Every place is taken: {described}{more}. Stop that bot or wait until its session expires; "
        "force takes it over.",
        retry_after_s=max(1.0, refused.wait_s),
    )


def session_lost(record: SessionRecord | None) -> SessionLost:
    """The refusal of a bot whose session is over; None if nobody knows it."""
    return SessionLost(f"{_loss_text(record)} Take a new one without the header Session-Id.")


def closing_reason(record: SessionRecord) -> str:
    """What the connection of an ended session is told, such as "session taken over by bot-2"."""
    if record.reason in ("taken_over", "replaced", "expired"):
        return f"session taken over by {record.by}"
    return "session ended"


def _holder_text(record: SessionRecord) -> str:
    version = f" (version {record.version})" if record.version else ""
    return f"{record.instance}{version} holds {named_symbols(record.symbols)} since {_stamp(record.since_ms)}"


def _loss_text(record: SessionRecord | None) -> str:
    if record is None:
        return "There is no such session of this license: it was never taken, or is over."
    when, by = _stamp(record.ended_ms), record.by
    texts: dict[EndReason, str] = {
        "taken_over": f"The instance {by} took this session over at {when}.",
        "replaced": f"The instance {by} started again at {when}, and has a newer session.",
        "expired": f"This session expired, and the instance {by} has its place.",
        "released": f"This session was released at {when}.",
        "ended_by_operator": f"An operator ended this session at {when}.",
    }
    return texts.get(record.reason, f"This session ended at {when}, because its license or key changed.")


def named_symbols(symbols: Sequence[str]) -> str:
    """The first symbols as text, and how many more there are."""
    return ", ".join(symbols[:5]) + (f" and {len(symbols) - 5} more" if len(symbols) > 5 else "")


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _milliseconds_of(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _time_of(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _stamp(milliseconds: int) -> str:
    return _time_of(milliseconds).strftime("%Y-%m-%dT%H:%M:%SZ")
