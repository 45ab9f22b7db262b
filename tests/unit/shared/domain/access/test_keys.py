import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain.access.keys import (
    KEY_LENGTH,
    PREFIX,
    hash_key,
    is_public_id,
    new_key,
    new_public_id,
    parse_key,
    public_id_in,
    random_base62,
    same_hash,
    shard_of_public_id,
)
from shared.errors import Unauthenticated

BASE62 = string.digits + string.ascii_letters
PEPPER = b"p" * 32
public_ids = st.text(BASE62, min_size=6, max_size=6)


@st.composite
def keys(draw: st.DrawFn) -> str:
    """Keys out of arbitrary random bytes."""
    seed = draw(st.randoms(use_true_random=False))
    return new_key(draw(public_ids), rng=seed.randbytes)


@given(keys())
def test_a_new_key_is_accepted_and_tells_its_public_id(key: str) -> None:
    parsed = parse_key(key)
    assert parsed.text == key
    assert parsed.public_id == key[len(PREFIX) : len(PREFIX) + 6]
    assert len(key) == KEY_LENGTH == 52


@given(keys(), st.integers(0, KEY_LENGTH - 1), st.characters())
def test_any_one_changed_character_is_refused(key: str, position: int, character: str) -> None:
    assume(key[position] != character)
    with pytest.raises(Unauthenticated) as refused:
        parse_key(key[:position] + character + key[position + 1 :])
    assert refused.value.code == "key_malformed"


@given(keys(), st.integers(0, KEY_LENGTH - 2))
def test_swapped_neighbours_are_refused(key: str, position: int) -> None:
    assume(key[position] != key[position + 1])
    swapped = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
    with pytest.raises(Unauthenticated):
        parse_key(swapped)


@given(keys(), st.integers(0, KEY_LENGTH - 1), st.sampled_from(BASE62))
def test_a_lost_or_added_character_is_refused(key: str, position: int, character: str) -> None:
    for damaged in (key[:position] + key[position + 1 :], key[:position] + character + key[position:]):
        with pytest.raises(Unauthenticated):
            parse_key(damaged)


@pytest.mark.parametrize("text", ["", "sc_live_", "sc_test_" + "a" * 44, "sc_live_" + "a" * 44, "\x00" * 52])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        parse_key(text)


def test_a_key_with_a_line_end_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        parse_key(new_key("Ab12Cd") + "\n")


def test_a_parsed_key_does_not_show_its_secret() -> None:
    key = new_key("Ab12Cd")
    assert key[14:] not in repr(parse_key(key))


def test_hashes_depend_on_key_and_pepper() -> None:
    first, second = new_key("Ab12Cd"), new_key("Ab12Cd")
    hashes = {hash_key(first, PEPPER), hash_key(second, PEPPER), hash_key(first, b"q" * 32)}
    assert len(hashes) == 3
    assert all(len(each) == 64 for each in hashes)
    assert same_hash(hash_key(first, PEPPER), hash_key(first, PEPPER))
    assert not same_hash(hash_key(first, PEPPER), hash_key(second, PEPPER))


def test_the_hash_is_hmac_sha256() -> None:
    # RFC 4231, test case 2.
    assert (
        hash_key("what do ya want for nothing?", b"Jefe")
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


def test_every_character_is_equally_likely() -> None:
    every_byte = bytes(range(256))
    drawn = random_base62(248, lambda _: every_byte)
    assert sorted(drawn) == sorted(BASE62 * 4)


def test_keys_of_one_shard_share_their_beginning() -> None:
    assert {new_public_id("x7")[:2] for _ in range(20)} == {"x7"}
    assert len({new_public_id("x7") for _ in range(20)}) == 20


def test_a_public_id_is_found_in_what_people_paste() -> None:
    key = new_key("Ab12Cd")
    assert [public_id_in(text) for text in ("Ab12Cd", "sc_live_Ab12Cd", key)] == ["Ab12Cd"] * 3
    assert [public_id_in(text) for text in ("", "Ab12C", "lic_abcdefghijkl", key[:-1], "Ab12C'")] == [""] * 5


def test_a_public_id_of_the_wrong_form_makes_no_key() -> None:
    with pytest.raises(ValueError, match="6 base62"):
        new_key("too long")


def test_a_public_id_begins_with_its_shard() -> None:
    assert shard_of_public_id("Ab12Cd") == "Ab"
    assert new_public_id("Zz").startswith("Zz")
    assert [is_public_id(text) for text in ("Ab12Cd", "Ab12C", "Ab12Cde", "Ab-2Cd", "Ab12Cd\n")] == [
        True,
        False,
        False,
        False,
        False,
    ]
