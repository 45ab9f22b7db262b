"""Describes licenses and the API keys that they own, and decides what they allow at a given time."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from shared.domain.access.keys import SHARD_LENGTH, RandomBytes, base62_of, random_base62
from shared.domain.access.plans import NO_OVERRIDES, STANDARD, Overrides, Plan
from shared.domain.market.symbols import root_hint
from shared.domain.problems import Problems
from shared.errors import (
    Conflict,
    FieldCode,
    FieldError,
    Forbidden,
    KeyExpired,
    KeyRevoked,
    LicenseExpired,
    LicenseRevoked,
    LicenseSuspended,
    ScopeMissing,
    SignalCloudError,
    StrategyNotLicensed,
    SymbolNotLicensed,
    ValidationFailed,
)

Scope = Literal["bot", "publisher", "feeder", "ops", "admin", "hook"]
LicenseStatus = Literal["active", "suspended", "revoked", "expired"]
SuspendedBy = Literal["operator", "payment"]
KeyStatus = Literal["active", "revoked"]
# Those that an operator gives. `hook` is that of the secrets of hooks, see shared/domain/access/hooks.py.
ALL_SCOPES: tuple[Scope, ...] = ("bot", "publisher", "feeder", "ops", "admin")
HOOK_SCOPES: tuple[Scope, ...] = ("hook",)

LICENSE_PREFIX = "lic_"
_RANDOM_LENGTH = 12
NEVER = datetime.min.replace(tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)
LICENSE_ID_PATTERN = r"^lic_[0-9A-Za-z]{12}\Z"
_LICENSE_ID = re.compile(LICENSE_ID_PATTERN)


class License(msgspec.Struct, frozen=True, kw_only=True):
    """An account's entitlement: its plan's values, of which single ones can be overridden.

    `revision` counts the changes. A license expires at `expires_at`; its status becomes `expired` after a
    timer has closed its connections. `reference` is the name that an operator or a payment gave it; a license
    with one has an id that follows from it. `email` and `discord_user_id` are the holder's.

    `grace_until` is set when a payment has failed: from then on the license counts as suspended, until it is
    paid. `payment` is the subject that pays for it, such as `stripe:sub_123`; its payments gave last what
    `paid_until` and `paid_plan` say. It `renews` if the next period follows by itself. `refused_for` names
    the failed, disputed or refunded payment for which the payments last refused it, so that an operator who
    lets it work all the same has the last word on that one. `suspended_by` says who suspended or revoked the
    license: an operator, or a payment that failed or was taken back.
    """

    license_id: str
    account_id: str
    plan: str = STANDARD
    overrides: Overrides = NO_OVERRIDES
    status: LicenseStatus = "active"
    suspended_by: SuspendedBy | None = None
    expires_at: datetime | None = None
    grace_until: datetime | None = None
    reference: str | None = None
    payment: str | None = None
    paid_until: datetime | None = None
    paid_plan: str | None = None
    renews: bool = False
    refused_for: str | None = None
    email: str | None = None
    discord_user_id: str | None = None
    notes: str = ""
    created_at: datetime
    revision: int = 1


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """The stored record of a key: never the secret, only its keyed hash and its public id.

    When a key is hashed again under another pepper, `hashed_at` is the time, and `previous_hash` lets
    processes that still have the former pepper recognise it. `successor` is the public id of the key that
    replaces this one, which ends after an overlap. `claim` names the claim link that gave the key.
    """

    public_id: str
    key_hash: str
    license_id: str
    scopes: tuple[Scope, ...]
    status: KeyStatus = "active"
    created_at: datetime
    expires_at: datetime | None = None
    revision: int = 1
    previous_hash: str | None = None
    hashed_at: datetime | None = None
    successor: str | None = None
    claim: str | None = None

    @property
    def hashes(self) -> tuple[str, ...]:
        """Every hash under which a cache may hold this key."""
        return (self.key_hash,) if self.previous_hash is None else (self.key_hash, self.previous_hash)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A presented key and its license, which together decide what it may do; cached as one record.

    `terms` are the values of the license's plan with its overrides. PlanCatalog.grant makes grants.
    """

    license: License
    key: ApiKey
    terms: Plan

    @property
    def actor(self) -> str:
        """The name under which the audit log has what the key's holder changes."""
        return f"key {self.key.public_id}"

    @property
    def revision(self) -> int:
        """Grows with every change of either part, so that a cache can keep the newer of two grants."""
        return self.license.revision + self.key.revision


def newest(one: Grant, other: Grant) -> Grant:
    """The later revision of each part, because a slow cache may hold an earlier one than the caller knows."""
    # On a tie `one` decides, because its terms may be of a newer file of plans.
    newer = other if other.license.revision > one.license.revision else one
    key = max(one.key, other.key, key=lambda part: part.revision)
    return Grant(license=newer.license, key=key, terms=newer.terms)


def new_license_id(rng: RandomBytes) -> str:
    return LICENSE_PREFIX + random_base62(_RANDOM_LENGTH, rng)


def license_id_of(reference: str) -> str:
    """The id of the license with this reference, so that the same reference never makes a second license."""
    return LICENSE_PREFIX + base62_of(hashlib.sha256(reference.encode()).digest(), _RANDOM_LENGTH)


def is_license_id(text: str) -> bool:
    return _LICENSE_ID.match(text) is not None


def shard_of_license_id(license_id: str) -> str:
    """The partition of a license and its keys; see shared/domain/access/keys.py."""
    return license_id.removeprefix(LICENSE_PREFIX)[:SHARD_LENGTH]


def refusal(grant: Grant, now: datetime) -> SignalCloudError | None:
    """The reason why `grant` allows nothing at `now`, or None. Checks first the key, then its license."""
    return key_refusal(grant.key, now) or license_refusal(grant.license, now)


def key_refusal(key: ApiKey, now: datetime) -> SignalCloudError | None:
    """The reason why `key` allows nothing at `now`, whatever its license is; or None."""
    if key.status == "revoked":
        return KeyRevoked("This API key was revoked.")
    if key.expires_at is not None and key.expires_at <= now:
        return KeyExpired("This API key has expired.")
    return None


def license_refusal(license_: License, now: datetime) -> SignalCloudError | None:
    """The reason why `license_` allows nothing at `now`, or None."""
    if license_.status == "revoked" and license_.suspended_by == "payment":
        return LicenseRevoked(
            "The license of this API key was revoked, because a payment was refunded or disputed. It works "
            "again after the next payment, or if the dispute is won."
        )
    if license_.status == "revoked":
        return LicenseRevoked("The license of this API key was revoked.")
    if license_.suspended_by == "payment" or is_over(license_.grace_until, now):
        return LicenseSuspended(
            "The license of this API key is suspended, because a payment failed. It works again as soon as "
            "the payment is made."
        )
    if license_.status == "suspended":
        return LicenseSuspended("The license of this API key is suspended.")
    if license_.status == "expired" or is_over(license_.expires_at, now):
        return LicenseExpired("The license of this API key has expired.")
    return None


def is_over(end: datetime | None, now: datetime) -> bool:
    return end is not None and end <= now


def scope_refusal(grant: Grant, scope: Scope) -> Forbidden | None:
    if scope in grant.key.scopes:
        return None
    return ScopeMissing(
        f"This needs a key with the scope {scope}; the scopes of this key: "
        f"{', '.join(grant.key.scopes) or 'none'}."
    )


def require_symbols(grant: Grant, fields: Mapping[str, str]) -> None:
    """Raises SymbolNotLicensed or ValidationFailed as `require_among` does, for the license of `grant`."""
    require_among(grant.terms.symbols, fields)


def require_among(licensed: Sequence[str], fields: Mapping[str, str]) -> None:
    """Raises SymbolNotLicensed for the symbols that are not among those that a license covers.

    `fields` maps each requested symbol to the name of its field in the request. If all of them are contracts
    or series of roots, the license is not to blame: raises ValidationFailed, which says what to send.
    """
    refused = {symbol: field for symbol, field in fields.items() if symbol not in licensed}
    if not refused:
        return
    errors = tuple(FieldError(field, *_symbol_fault(symbol)) for symbol, field in refused.items())
    if all(error.code == "unknown_value" for error in errors):
        raise ValidationFailed(errors)
    raise SymbolNotLicensed(
        f"The license does not cover {', '.join(refused)}; it covers {', '.join(licensed)}.", errors=errors
    )


def require_strategies(grant: Grant, fields: Mapping[str, str]) -> None:
    """Raises StrategyNotLicensed for the strategies whose confidences the license does not cover.

    `fields` maps each requested strategy to the name of its field in the request.
    """
    licensed = grant.terms.strategies
    refused = {name: field for name, field in fields.items() if name not in licensed} if licensed else {}
    if refused:
        message = f"The license covers confidences of {', '.join(licensed)}, and not of {', '.join(refused)}."
        errors = tuple(FieldError(field, "unknown_value", message) for field in refused.values())
        raise StrategyNotLicensed(message, errors=errors)


def refuse_misnamed(grant: Grant, symbol: str, field: str) -> None:
    """Raises ValidationFailed if `symbol` is a contract or a series of a root, and is not licensed itself."""
    hint = root_hint(symbol)
    if hint is not None and symbol not in grant.terms.symbols:
        raise ValidationFailed((FieldError(field, "unknown_value", hint),))


def check_symbol(grant: Grant, symbol: str, problems: Problems) -> None:
    """Adds the field `symbol` of one item if the license does not cover it."""
    if symbol not in grant.terms.symbols:
        problems.add("symbol", *_symbol_fault(symbol))


def _symbol_fault(symbol: str) -> tuple[FieldCode, str]:
    """Why a symbol that the license does not cover is refused; a misnamed root is no matter of licenses."""
    hint = root_hint(symbol)
    if hint is not None:
        return "unknown_value", hint
    return "symbol_not_licensed", f"{symbol} is not in the license. GET license lists its symbols."


def valid_until(grant: Grant) -> datetime | None:
    """When `grant` expires, or is suspended for a failed payment; None if that is not to come."""
    ends = (grant.key.expires_at, grant.license.expires_at, grant.license.grace_until)
    return min((end for end in ends if end is not None), default=None)


def good_until(grant: Grant) -> datetime:
    """The time until which `refusal` is None: NEVER if `grant` is refused now, FOREVER if it has no end."""
    if refusal(grant, NEVER) is not None:
        return NEVER
    return valid_until(grant) or FOREVER


def revoked_key(key: ApiKey) -> ApiKey:
    """`key` revoked, which is final; unchanged if it was before."""
    if key.status == "revoked":
        return key
    return msgspec.structs.replace(key, status="revoked", revision=key.revision + 1)


def replaced_key(key: ApiKey, successor: str, end: datetime) -> ApiKey:
    """`key` that its successor replaces, and that expires at `end`, or earlier if it did before.

    Raises Conflict if it is revoked, or was replaced before.
    """
    if key.status == "revoked":
        raise Conflict(f"The key {key.public_id} is revoked; create a new one.")
    end = min(end, key.expires_at or end)
    if key.successor == successor and key.expires_at == end:
        return key
    if key.successor is not None:
        raise Conflict(f"The key {key.public_id} was rotated before; {key.successor} replaces it.")
    return msgspec.structs.replace(key, expires_at=end, successor=successor, revision=key.revision + 1)


def ending_key(key: ApiKey, successor: str, end: datetime) -> ApiKey:
    """`key` that expires at `end` at the latest, because `successor` was given for it."""
    if key.status == "revoked" or (key.expires_at is not None and key.expires_at <= end):
        return key
    replaced_by = key.successor or successor
    return msgspec.structs.replace(key, expires_at=end, successor=replaced_by, revision=key.revision + 1)


def is_valid_key(key: ApiKey, now: datetime) -> bool:
    return key_refusal(key, now) is None


def rehashed_key(key: ApiKey, old_hash: str, new_hash: str, now: datetime) -> ApiKey:
    """`key` with a new hash; unchanged if its hash is no longer `old_hash`."""
    if key.key_hash != old_hash:
        return key
    return msgspec.structs.replace(
        key, key_hash=new_hash, previous_hash=old_hash, hashed_at=now, revision=key.revision + 1
    )


def is_hashed_since(key: ApiKey, moment: datetime) -> bool:
    return (key.hashed_at or key.created_at) >= moment
