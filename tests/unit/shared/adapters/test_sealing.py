"""A sealed export opens with its private key alone, and only unchanged."""

import pytest

from shared.adapters.sealing import key_name, new_private_key, public_key_of, seal, unseal
from shared.errors import ConfigurationError, ExportDamaged

PRIVATE, OTHER = new_private_key(), new_private_key()
PUBLIC = public_key_of(PRIVATE)


def test_its_owner_reads_it_and_nobody_else() -> None:
    sealed = seal(b"licenses", PUBLIC)
    assert b"licenses" not in sealed
    assert unseal(sealed, [OTHER, PRIVATE]) == b"licenses"
    with pytest.raises(ExportDamaged, match=key_name(PUBLIC)):
        unseal(sealed, [OTHER])
    with pytest.raises(ExportDamaged):
        unseal(sealed, [])


def test_the_same_content_looks_different_each_time() -> None:
    assert seal(b"licenses", PUBLIC) != seal(b"licenses", PUBLIC)


def test_after_a_rotation_old_exports_open_with_the_old_key() -> None:
    old, new = seal(b"old", PUBLIC), seal(b"new", public_key_of(OTHER))
    assert [unseal(each, [PRIVATE, OTHER]) for each in (old, new)] == [b"old", b"new"]


def test_what_was_changed_is_refused() -> None:
    sealed = seal(b"licenses", PUBLIC)
    head, _, body = sealed.partition(b"\n")
    for bad in (
        b"",
        body,
        head,
        head + b"\n",
        head + b"\n" + body[:-1],
        head + b"\n" + bytes([body[0] ^ 1]) + body[1:],
        head + b"\n" + body[:-1] + bytes([body[-1] ^ 1]),
        head.replace(b'"version": 1', b'"version": 2') + b"\n" + body,
        # Another text that means the same: the ciphertext is bound to the very bytes.
        head.replace(b", ", b",") + b"\n" + body,
        b"[]\n" + body,
    ):
        with pytest.raises(ExportDamaged):
            unseal(bad, [PRIVATE])


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", "not base64 \u00e9", "A" * 44])
def test_a_key_that_is_none_is_told_without_its_value(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        seal(b"", key)
    assert not key or key not in caught.value.detail
    with pytest.raises(ConfigurationError):
        public_key_of(key)


def test_the_name_of_a_key_controls_no_terminal() -> None:
    head = b'{"sealed": "hpke-x25519-hkdf-sha256-aes-256-gcm", "version": 1, "key": "\\u001b[2J"}\n'
    with pytest.raises(ExportDamaged) as caught:
        unseal(head, [PRIVATE])
    assert "\x1b" not in caught.value.detail
