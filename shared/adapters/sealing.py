"""Seals exports for one reader by HPKE (RFC 9180), so that the app itself cannot read what it wrote.

A sealed file is one line of JSON, which names the key, and then the ciphertext, which is bound to that line.
The private key is never in the app's settings: its owner keeps it outside of the stack.
"""

import base64
import hashlib
import json
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from shared.errors import ConfigurationError, ExportDamaged

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_FORM = {"sealed": "hpke-x25519-hkdf-sha256-aes-256-gcm", "version": 1}
_MAX_HEAD_BYTES = 256
KEY_BYTES = 32


def new_private_key() -> str:
    """A new private key, in base64."""
    return base64.b64encode(X25519PrivateKey.generate().private_bytes_raw()).decode()


def public_key_of(private_key: str) -> str:
    """The public key of a private one, both in base64; raises ConfigurationError."""
    return base64.b64encode(_private(private_key).public_key().public_bytes_raw()).decode()


def key_name(public_key: str) -> str:
    """The name by which a sealed file tells its key: the beginning of the public key's SHA-256."""
    return hashlib.sha256(key_bytes(public_key)).hexdigest()[:16]


def seal(plain: bytes, public_key: str) -> bytes:
    """`plain` for the owner of `public_key` alone; raises ConfigurationError if that is no key."""
    head = json.dumps(_FORM | {"key": key_name(public_key)}).encode() + b"\n"
    return head + _SUITE.encrypt(plain, X25519PublicKey.from_public_bytes(key_bytes(public_key)), info=head)


def unseal(sealed: bytes, private_keys: Iterable[str]) -> bytes:
    """What `seal` got, by whichever of the private keys fits; raises ExportDamaged or ConfigurationError."""
    head, newline, _ = sealed[:_MAX_HEAD_BYTES].partition(b"\n")
    try:
        told = json.loads(head) if newline else None
    except ValueError:
        told = None
    if not isinstance(told, dict) or {name: told.get(name) for name in _FORM} != _FORM:
        raise ExportDamaged("This is no sealed export, or of a form that this code does not know.")
    for private_key in private_keys:
        if key_name(public_key_of(private_key)) == told.get("key"):
            try:
                return _SUITE.decrypt(sealed[len(head) + 1 :], _private(private_key), info=head + b"\n")
            except (InvalidTag, ValueError) as error:
                raise ExportDamaged("The sealed export was changed or is not complete.") from error
    raise ExportDamaged(
        # Its name comes from a file that anybody may have written, and goes to a terminal.
        f"None of the given keys opens this export: it needs the private key {told.get('key')!a}."
    )


def key_bytes(text: str) -> bytes:
    """The bytes of a key in base64; raises ConfigurationError, without the key."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"a key of exports must be {KEY_BYTES} bytes in base64")
    return key


def _private(text: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(key_bytes(text))
