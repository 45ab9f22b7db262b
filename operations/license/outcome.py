"""Shows what a command found or changed, as lines to read."""

import argparse
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from shared.domain.access.license_rows import LicenseRow
from shared.services.key_making import CreatedKey
from shared.services.license_admin import LicenseAdmin
from shared.services.license_keys import Effect
from shared.services.licenses import LicenseService

# The exit status of a change that is stored, but of which a follow-up step has failed.
INCOMPLETE = 3


class Desk(NamedTuple):
    """What a command works with: changes under the operator's name, and the list of all licenses."""

    licenses: LicenseService
    admin: LicenseAdmin


class Outcome(NamedTuple):
    """What a command found: as a value for `--json`, and as lines to read.

    `warnings` say which follow-up steps of a change have failed.
    """

    value: Any
    lines: list[str]
    warnings: Sequence[str] = ()


Command = Callable[[Desk, argparse.Namespace], Awaitable[Outcome]]


def changed(desk: Desk, effect: Effect, *, ends: bool = True) -> Outcome:
    """A license after a change; `ends` is whether the change ends something."""
    return Outcome(effect, license_lines(desk.admin.row(effect.license)), warnings(effect, ends=ends))


def warnings(effect: Effect, *, ends: bool = True) -> list[str]:
    """A line for each follow-up step that has failed; `ends` is whether the change ends something."""
    lines = []
    if not effect.caches_told:
        delay = "learn the end from Table Storage within 5" if ends else "may refuse the license for 60"
        lines.append(f"Redis was not told: processes {delay} seconds.")
    if not effect.connections_closed:
        lines.append(
            "Connections were not closed: Web PubSub did not answer. The timer closes them within 10 seconds "
            "of its return. Run this command again to close them earlier."
        )
    if not effect.audited:
        lines.append("The audit log did not get an entry: Postgres did not answer. Note it elsewhere.")
    return ["The change is stored and stands, but it is not complete.", *lines] if lines else []


def license_lines(row: LicenseRow) -> list[str]:
    """A license; values that are not its plan's are marked."""
    terms, own = row.terms, set(row.overridden)

    def value(name: str, text: str) -> str:
        return f"{text} (override)" if name in own else text

    lines = [
        f"{row.license_id}  {row.status}{f', by {row.suspended_by}' if row.suspended_by else ''}",
        f"  account  {row.account_id}",
        f"  plan     {row.plan}, "
        + value("requests_per_minute", f"{terms.requests_per_minute} requests a minute a key"),
        f"  symbols  {value('symbols', ', '.join(terms.symbols))}",
        f"  expires  {time_text(row.expires_at) if row.expires_at else 'never'}",
    ]
    shown = {"requests_per_minute", "symbols"}
    lines += [
        f"  {name}  {value(name, str(getattr(terms, name)))}" for name in row.overridden if name not in shown
    ]
    more = {
        "unpaid": f"works until {time_text(row.grace_until)}" if row.grace_until else None,
        "reference": row.reference,
        "paid by": row.payment,
        "mail": row.email,
        "discord": row.discord_user_id,
        "notes": row.notes or None,
    }
    return lines + [f"  {name:<8} {text}" for name, text in more.items() if text]


def created_lines(created: CreatedKey) -> list[str]:
    return [created.plain, f"This key ({', '.join(created.key.scopes)}) is shown once; keep it safe."]


def time_text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
