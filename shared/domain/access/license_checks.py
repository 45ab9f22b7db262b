"""Checks the values of a new license or key."""

import re
from collections.abc import Sequence
from datetime import datetime

from shared.domain.access.licenses import ALL_SCOPES, MAX_REQUESTS_PER_MINUTE, MAX_SYMBOLS, License, Scope
from shared.domain.access.plans import PLANS
from shared.domain.market.bars import is_symbol
from shared.domain.market.symbols import symbol_fault
from shared.domain.problems import Problems
from shared.errors import Conflict

_MAX_NAMED = 5
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_license(license_: License, now: datetime, problems: Problems) -> None:
    check_expiry(license_.expires_at, now, problems)
    if not _ACCOUNT.fullmatch(license_.account_id):
        message = "Expected up to 64 letters, digits, dots, dashes and underscores."
        problems.add("account_id", "invalid_format", message)
    if license_.plan not in PLANS:
        problems.add("plan", "unknown_value", f"Expected one of {', '.join(PLANS)}.")
    if not 1 <= len(license_.symbols) <= MAX_SYMBOLS:
        problems.add("symbols", "out_of_range", f"Expected from 1 to {MAX_SYMBOLS} symbols.")
    bad = [symbol for symbol in license_.symbols if not is_symbol(symbol)]
    if bad:
        problems.add("symbols", "invalid_format", " ".join(map(symbol_fault, bad[:_MAX_NAMED])))
    if not 1 <= license_.requests_per_minute <= MAX_REQUESTS_PER_MINUTE:
        message = f"Expected from 1 to {MAX_REQUESTS_PER_MINUTE}."
        problems.add("requests_per_minute", "out_of_range", message)


def check_expiry(expires_at: datetime | None, now: datetime, problems: Problems) -> None:
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        message = "Expected a time in the future with its offset, such as 2027-01-31T00:00:00Z."
        problems.add("expires_at", "out_of_range", message)


def check_scopes(scopes: Sequence[Scope], problems: Problems) -> None:
    if not scopes or any(scope not in ALL_SCOPES for scope in scopes):
        problems.add("scopes", "unknown_value", f"Expected one or more of {', '.join(ALL_SCOPES)}.")


def account_exists(account_id: str) -> Conflict:
    """The refusal of a new license whose account another license has."""
    return Conflict(
        f"The account {account_id} exists. If this license is for the same customer, add --same-account: it "
        "shares the account's trades. Otherwise choose another name."
    )
