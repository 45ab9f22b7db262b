"""Claim tokens: what they hold, when they end, and that nobody else can make one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.access.claims import (
    LIFETIME,
    TOKEN_LENGTH,
    Claim,
    Purpose,
    claim_secret,
    claim_token,
    claim_url,
    read_claim,
)
from shared.domain.access.keys import hash_key
from shared.errors import ClaimExpired, NotFound

SECRET = claim_secret(b"p" * 32)
LICENSE = "lic_Ab0000000000"
AT = datetime(2026, 3, 2, 14, 30, 5, 999_999, tzinfo=UTC)
TOKEN = claim_token(LICENSE, "first_key", AT, SECRET)

moments = st.integers(1_600_000_000, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
ids = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=12, max_size=12)


@given(ids, st.sampled_from(["first_key", "lost_key"]), moments, st.floats(0, 0.999))
def test_a_token_holds_what_it_was_made_of_until_its_end(
    license_: str, purpose: Purpose, at: datetime, share: float
) -> None:
    token = claim_token(f"lic_{license_}", purpose, at, SECRET)
    issued = at.replace(microsecond=0)
    now = issued + share * LIFETIME[purpose]
    assert read_claim(token, [SECRET], now) == Claim(f"lic_{license_}", purpose, issued)
    assert (len(token), token.isalnum()) == (TOKEN_LENGTH, True)
    with pytest.raises(ClaimExpired):
        read_claim(token, [SECRET], issued + LIFETIME[purpose])


@given(st.integers(0, TOKEN_LENGTH - 1), st.characters())
def test_a_token_with_one_other_character_is_none(place: int, other: str) -> None:
    changed = TOKEN[:place] + other + TOKEN[place + 1 :]
    if changed != TOKEN:
        with pytest.raises(NotFound):
            read_claim(changed, [SECRET], AT)


@pytest.mark.parametrize(
    "token", ["", TOKEN[:-1], TOKEN + "0", TOKEN + "\n", f" {TOKEN}", TOKEN.upper(), "x" * 99]
)
def test_what_is_no_token_is_not_found(token: str) -> None:
    with pytest.raises(NotFound):
        read_claim(token, [SECRET], AT)


def test_the_former_pepper_still_opens_its_links_and_others_do_not() -> None:
    new = claim_secret(b"q" * 32)
    assert read_claim(TOKEN, [new, SECRET], AT).license_id == LICENSE
    with pytest.raises(NotFound):
        read_claim(TOKEN, [new], AT)
    with pytest.raises(NotFound):
        read_claim(TOKEN, [], AT)


def test_the_same_message_has_the_same_link_and_each_second_another() -> None:
    assert claim_token(LICENSE, "first_key", AT.replace(microsecond=0), SECRET) == TOKEN
    assert claim_token(LICENSE, "first_key", AT + timedelta(seconds=1), SECRET) != TOKEN
    assert claim_token(LICENSE, "lost_key", AT, SECRET) != TOKEN
    assert (
        claim_url("https://signals.example.com/", TOKEN) == f"https://signals.example.com/api/claim/{TOKEN}"
    )


def test_the_tokens_key_is_not_the_pepper() -> None:
    body = TOKEN[:21]
    assert not hash_key(body, b"p" * 32).startswith(TOKEN[21:])


def test_names_tell_the_links_of_a_license_apart() -> None:
    claim = read_claim(TOKEN, [SECRET], AT)
    assert claim.name == f"first_key.{int(AT.timestamp())}"
