"""Lists everything that is stored about an account, and what an erasure does with it."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from shared.domain.access.keys import RandomBytes, random_base62
from shared.domain.access.license_changes import revoked
from shared.domain.access.licenses import License

# A bot's report that was admitted just before its key was revoked is stored a little later. So an erasure
# looks again until this long after it began; a process knows a revocation within five seconds.
SETTLES_AFTER = timedelta(minutes=2)
PSEUDONYM_PREFIX = "erased-"

# What happens to the rows of an account: they go, they keep what is needed under a pseudonym, or they name
# licenses and keys alone, which name nobody after the erasure.
Erased = Literal["deleted", "pseudonymised", "kept"]


class AccountTable(msgspec.Struct, frozen=True):
    """A table with rows of accounts. `columns` are those that name an account, a license, a key or a holder.

    `why` says why what is not deleted stays, and for how long. shared/sql/queries/accounts.sql has a query
    `export_<name>` for each, and `erase_<name>` for each whose rows are not kept.
    """

    name: str
    columns: tuple[str, ...]
    erased: Erased
    why: str = ""


ACCOUNT_TABLES = (
    AccountTable(
        "trades",
        ("account_id", "key_public_id"),
        "pseudonymised",
        "Models were trained and judged with them; kept as long as the models are.",
    ),
    AccountTable("trade_ids", ("account_id",), "deleted"),
    AccountTable("trade_days", ("account_id",), "deleted"),
    AccountTable("trade_day_figures", ("account_id",), "deleted"),
    AccountTable("account_usage", ("account_id",), "deleted"),
    AccountTable("suspicious_trades", ("account_id",), "deleted"),
    AccountTable(
        "signals",
        ("publisher",),
        "pseudonymised",
        "Other accounts received and traded them; kept as all signals are, for 90 days.",
    ),
    AccountTable("destinations", ("account_id", "license_id"), "deleted"),
    AccountTable("misuse_days", ("account_id",), "deleted"),
    AccountTable("misuse_addresses", ("account_id", "public_id"), "deleted"),
    AccountTable("notifications", ("account_id",), "deleted"),
    AccountTable("notification_events", ("account_id", "license_id"), "deleted"),
    AccountTable(
        "license_list",
        ("license_id", "account_id", "email"),
        "kept",
        "Follows Table Storage, where the license has its pseudonym and no holder.",
    ),
    AccountTable(
        "claims_used",
        ("license_id",),
        "kept",
        "Names licenses alone, so that no claim link works twice; deleted after 30 days.",
    ),
    AccountTable(
        "connections", ("license_id",), "kept", "Rows of open connections, which end with the keys."
    ),
    AccountTable(
        "payment_events",
        ("account_id", "license_id"),
        "pseudonymised",
        "Tax and commercial law ask for ten years of payments; mail address and Discord user go.",
    ),
    AccountTable("hooks", ("account_id", "license_id", "public_id", "previous_public_id"), "deleted"),
    AccountTable(
        "erasures", ("account_id",), "kept", "Names the account until its erasure is finished, then no more."
    ),
    AccountTable(
        "audit",
        (),
        "pseudonymised",
        "Shows who changed what; its entries are never deleted.",
    ),
)


class Erasure(msgspec.Struct, frozen=True):
    """An erasure under way: the account and the pseudonym that replaces it."""

    account_id: str
    pseudonym: str
    requested_at: datetime

    def may_finish(self, now: datetime) -> bool:
        return now - self.requested_at >= SETTLES_AFTER


def new_pseudonym(rng: RandomBytes) -> str:
    """An account id that nothing connects with the account."""
    return PSEUDONYM_PREFIX + random_base62(16, rng)


def is_erased(license_: License) -> bool:
    """Whether the license's holder was erased."""
    return license_.account_id.startswith(PSEUDONYM_PREFIX)


def erased(license_: License, pseudonym: str) -> License:
    """`license_` revoked, without its holder and all that could name him; unchanged if it was before."""
    ended = revoked(license_)
    after = msgspec.structs.replace(
        ended,
        account_id=pseudonym,
        reference=None,
        payment=None,
        refused_for=None,
        email=None,
        discord_user_id=None,
        notes="",
    )
    return ended if after == ended else msgspec.structs.replace(after, revision=ended.revision + 1)
