"""What a license and its keys allow at a given time, and how they change."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.access.licenses import (
    ALL_SCOPES,
    FOREVER,
    NEVER,
    ApiKey,
    Grant,
    License,
    Scope,
    good_until,
    is_hashed_since,
    is_license_id,
    new_license_id,
    refusal,
    rehashed_key,
    replaced_key,
    require_symbols,
    revoked_key,
    scope_refusal,
    shard_of_license_id,
    valid_until,
)
from shared.domain.access.plans import Overrides
from shared.errors import Conflict, SymbolNotLicensed
from tests.support.license_plans import PLANS

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LICENSE = License(
    license_id="lic_Ab0123456789", account_id="a", overrides=Overrides(symbols=("ES", "NQ")), created_at=NOW
)
KEY = ApiKey(
    public_id="Ab12Cd", key_hash="h1", license_id=LICENSE.license_id, scopes=("bot", "ops"), created_at=NOW
)


def grant(license_: dict[str, Any] | None = None, **key: Any) -> Grant:
    return PLANS.grant(
        msgspec.structs.replace(LICENSE, **(license_ or {})), msgspec.structs.replace(KEY, **key)
    )


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (grant(), None),
        (grant({"expires_at": NOW + SECOND}, expires_at=NOW + SECOND), None),
        (grant(status="revoked"), "key_revoked"),
        (grant(expires_at=NOW), "key_expired"),
        (grant({"status": "revoked"}), "license_revoked"),
        (grant({"status": "suspended"}), "license_suspended"),
        (grant({"status": "expired"}), "license_expired"),
        (grant({"expires_at": NOW}), "license_expired"),
        (grant({"status": "revoked"}, status="revoked", expires_at=NOW), "key_revoked"),
        (grant({"status": "revoked"}, expires_at=NOW), "key_expired"),
        (grant({"status": "suspended", "expires_at": NOW}), "license_suspended"),
    ],
)
def test_the_key_is_judged_before_its_license(given: Grant, code: str | None) -> None:
    found = refusal(given, NOW)
    assert (found.code if found is not None else None) == code


@pytest.mark.parametrize("scope", ALL_SCOPES)
def test_a_key_does_what_its_scopes_say(scope: Scope) -> None:
    found = scope_refusal(grant(), scope)
    assert (found is None) == (scope in ("bot", "ops"))
    if found is not None:
        assert found.detail == f"This needs a key with the scope {scope}; the scopes of this key: bot, ops."
    nothing = scope_refusal(grant(scopes=()), scope)
    assert nothing is not None
    assert nothing.detail.endswith("the scopes of this key: none.")


def test_symbols_outside_of_the_license_are_named_by_their_fields() -> None:
    require_symbols(grant(), {"ES": "symbol", "NQ": "symbols[0]"})
    require_symbols(grant(), {})
    with pytest.raises(SymbolNotLicensed) as refused:
        require_symbols(grant(), {"ES": "a", "CL": "b", "YM": "c"})
    assert refused.value.detail == "The license does not cover CL, YM; it covers ES, NQ."
    assert [(error.field, error.code, error.message) for error in refused.value.errors] == [
        ("b", "symbol_not_licensed", "CL is not in the license. GET license lists its symbols."),
        ("c", "symbol_not_licensed", "YM is not in the license. GET license lists its symbols."),
    ]


def test_a_grant_ends_with_its_first_part() -> None:
    assert valid_until(grant()) is None
    assert valid_until(grant({"expires_at": NOW + SECOND}, expires_at=NOW)) == NOW
    assert valid_until(grant({"expires_at": NOW})) == NOW
    assert good_until(grant()) == FOREVER
    assert good_until(grant(expires_at=NOW)) == NOW
    assert good_until(grant(status="revoked", expires_at=NOW)) == NEVER
    assert good_until(grant({"status": "suspended"})) == NEVER


def test_a_revision_counts_the_changes_of_both_parts() -> None:
    assert grant().revision == 2
    assert grant({"revision": 4}, revision=3).revision == 7


def test_a_key_is_revoked_once() -> None:
    gone = revoked_key(KEY)
    assert (gone.status, gone.revision) == ("revoked", 2)
    assert revoked_key(gone) is gone


def test_the_life_of_a_key_is_cut_and_never_lengthened() -> None:
    cut = replaced_key(KEY, "Ab34Ef", NOW)
    assert (cut.expires_at, cut.revision) == (NOW, 2)
    assert replaced_key(cut, "Ab34Ef", NOW) is cut
    early = msgspec.structs.replace(KEY, expires_at=NOW - SECOND)
    assert replaced_key(early, "Ab34Ef", NOW).expires_at == NOW - SECOND
    with pytest.raises(Conflict, match="The key Ab12Cd is revoked"):
        replaced_key(revoked_key(KEY), "Ab34Ef", NOW)
    with pytest.raises(Conflict, match="rotated before; Ab34Ef replaces it"):
        replaced_key(cut, "Ab56Gh", NOW)


def test_a_key_is_hashed_again_once_and_keeps_its_former_hash() -> None:
    assert KEY.hashes == ("h1",)
    moved = rehashed_key(KEY, "h1", "h2", NOW + SECOND)
    assert moved.hashes == ("h2", "h1")
    assert (moved.hashed_at, moved.revision) == (NOW + SECOND, 2)
    assert rehashed_key(moved, "h1", "h3", NOW) is moved
    assert is_hashed_since(KEY, NOW)
    assert not is_hashed_since(KEY, NOW + SECOND)
    assert is_hashed_since(moved, NOW + SECOND)


def test_a_license_and_its_keys_share_a_shard() -> None:
    made = new_license_id(lambda count: bytes(range(count)))
    assert made == "lic_0123456789AB"
    assert shard_of_license_id(made) == "01"
    assert is_license_id(made)
    for other in ("lic_0123456789A", "lic_0123456789ABC", "key_0123456789AB", "lic_0123456789A-", ""):
        assert not is_license_id(other)
