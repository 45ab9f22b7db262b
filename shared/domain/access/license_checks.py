"""Checks the values of a new license or key."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from shared.domain.access.licenses import ALL_SCOPES, ApiKey, License, Scope
from shared.domain.access.plans import check_values
from shared.domain.access.test_licenses import check_apart
from shared.domain.problems import Problems
from shared.errors import Conflict, KeysExceeded, NotFound

MAX_NOTES = 2_000
_MAX_NAMED = 5
MAX_LINE = 200
_LINE = re.compile(rf"[!-~]([ -~]{{0,{MAX_LINE - 2}}}[!-~])?")
_EMAIL = re.compile(r"(?=.{3,254}\Z)[!-?A-~]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_DISCORD = re.compile(r"[0-9]{15,20}")
# What a repeated creation may not differ in.
_COMPARED = (
    "account_id", "plan", "overrides", "expires_at", "payment", "email", "discord_user_id", "notes",
)  # fmt: skip
_SAME_SPAN = timedelta(seconds=1)
ACCOUNT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"


def is_email(text: str) -> bool:
    """Whether a license can have this mail address."""
    return _EMAIL.fullmatch(text) is not None


def check_new_license(license_: License, plans: Iterable[str], now: datetime, problems: Problems) -> None:
    check_expiry(license_.expires_at, now, problems)
    if not re.fullmatch(ACCOUNT_PATTERN, license_.account_id):
        message = "Expected up to 64 letters, digits, dots, dashes and underscores."
        problems.add("account_id", "invalid_format", message)
    check_license(license_, plans, problems)


def check_license(license_: License, plans: Iterable[str], problems: Problems) -> None:
    """Adds what no license may have after a change; `plans` are the names of all plans."""
    names = list(plans)
    if license_.plan not in names:
        problems.add("plan", "unknown_value", f"Expected one of {', '.join(names)}.")
    check_values(license_.overrides, problems)
    check_apart(license_, problems)
    for name, text, pattern, message in (
        ("reference", license_.reference, _LINE, f"Expected from 1 to {MAX_LINE} printable characters."),
        ("payment", license_.payment, _LINE, f"Expected from 1 to {MAX_LINE} printable characters."),
        ("email", license_.email, _EMAIL, "Expected an address such as name@example.com."),
        ("discord_user_id", license_.discord_user_id, _DISCORD, "Expected the number of a Discord user."),
    ):
        if text is not None and not pattern.fullmatch(text):
            problems.add(name, "invalid_format", message)
    if len(license_.notes) > MAX_NOTES or "\0" in license_.notes:
        problems.add("notes", "out_of_range", f"Expected up to {MAX_NOTES} characters.")


def check_expiry(expires_at: datetime | None, now: datetime, problems: Problems) -> None:
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        message = "Expected a time in the future with its offset, such as 2027-01-31T00:00:00Z."
        problems.add("expires_at", "out_of_range", message)


def check_scopes(scopes: Sequence[Scope], problems: Problems) -> None:
    if not scopes or any(scope not in ALL_SCOPES for scope in scopes):
        problems.add("scopes", "unknown_value", f"Expected one or more of {', '.join(ALL_SCOPES)}.")


def no_license(license_id: str) -> NotFound:
    """The refusal of a license id that no license has."""
    return NotFound(f"There is no license {license_id[:64]}.")


def account_exists(account_id: str) -> Conflict:
    """The refusal of a new license whose account another license has."""
    return Conflict(
        f"The account {account_id} exists. If this license is for the same customer, add --same-account: it "
        "shares the account's trades. Otherwise choose another name."
    )


def reference_taken(stored: License, wanted: License) -> Conflict | None:
    """The refusal of `wanted`, whose reference `stored` has; None if both have the same values.

    An end that is as long after the creation as the stored one is the same: a span was repeated.
    """
    differing = [name for name in _COMPARED if getattr(stored, name) != getattr(wanted, name)]
    if "expires_at" in differing and _is_same_span(stored, wanted):
        differing.remove("expires_at")
    if not differing:
        return None
    return Conflict(
        f"The reference {stored.reference} has the license {stored.license_id}, with another value of "
        f"{', '.join(differing)}. Change that license, or choose another reference."
    )


def _is_same_span(stored: License, wanted: License) -> bool:
    if stored.expires_at is None or wanted.expires_at is None:
        return False
    spans = (stored.expires_at - stored.created_at, wanted.expires_at - wanted.created_at)
    return abs(spans[0] - spans[1]) <= _SAME_SPAN


def keys_exceeded(license_: License, keys: Sequence[ApiKey], most: int) -> KeysExceeded:
    """The refusal of one more key; `keys` are the valid ones."""
    return KeysExceeded(
        f"The license {license_.license_id} may have {most} valid keys at once, and has {len(keys)}"
        f"{f': {_named(keys)}' if keys else ''}. Revoke one, or rotate it."
    )


def replaced_keys_exceeded(license_: License, keys: Sequence[ApiKey], most: int) -> KeysExceeded:
    """The refusal to replace one more key; `keys` are replaced and still work."""
    return KeysExceeded(
        f"The license {license_.license_id} may have {most} replaced keys that still work, and has "
        f"{len(keys)}: {_named(keys)}. End one of them, or wait for its end, then replace this key."
    )


def _named(keys: Sequence[ApiKey]) -> str:
    named = ", ".join(key.public_id for key in keys[:_MAX_NAMED])
    return f"{named} and {len(keys) - _MAX_NAMED} more" if len(keys) > _MAX_NAMED else named
