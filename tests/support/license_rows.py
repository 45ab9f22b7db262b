"""Makes rows of licenses and keys by number, spread over partitions as real ones are."""

from datetime import UTC, datetime, timedelta

from shared.domain.access.licenses import ApiKey, License
from shared.domain.access.plans import Overrides

MADE_AT = datetime(2026, 11, 1, tzinfo=UTC)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def numbered_license(number: int) -> License:
    shard = _LETTERS[number % 50] + _LETTERS[number // 50 % 50]
    return License(
        license_id=f"lic_{shard}{number:010}",
        account_id=f"acct-{number}",
        overrides=Overrides(symbols=("ES", "NQ")),
        created_at=MADE_AT,
        expires_at=MADE_AT + timedelta(days=90) if number % 2 else None,
    )


def numbered_key(number: int) -> ApiKey:
    owner = numbered_license(number).license_id
    return ApiKey(
        public_id=f"{owner[4:6]}{number % 10_000:04}",
        key_hash=f"{number:064x}",
        license_id=owner,
        scopes=("bot", "publisher"),
        created_at=MADE_AT,
        previous_hash="1" * 64,
        hashed_at=MADE_AT,
        revision=2,
    )
