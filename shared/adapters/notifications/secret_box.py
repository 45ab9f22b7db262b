"""Seals what customers' destinations keep secret, under a key that follows from the pepper.

While a pepper is replaced, what was sealed under the previous one can still be opened, and the timer seals it
again under the present one; see docs/decisions/0034.
"""

import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.domain.notifications.destinations import Destination, Secrets

_PURPOSE = b"signal-cloud destinations, 1"
_NONCE_BYTES = 12


class SecretBox:
    """`name` names the present key, without telling anything of it."""

    def __init__(self, pepper: bytes, previous: bytes | None) -> None:
        keys = [_key(each) for each in (pepper, previous) if each is not None]
        self._keys = {_name(key): key for key in keys}
        self.name = _name(keys[0])

    def seal(self, destination_id: str, secrets: Secrets) -> bytes:
        """`secrets` sealed for this destination alone, under the present key."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = msgspec.json.encode(secrets)
        return nonce + AESGCM(self._keys[self.name]).encrypt(nonce, plain, destination_id.encode())

    def opened(self, destination: Destination) -> Secrets | None:
        """What the destination has sealed; None if its key is gone, or it was changed."""
        key = self._keys.get(destination.sealed_by)
        if key is None:
            return None
        nonce, sealed = destination.sealed[:_NONCE_BYTES], destination.sealed[_NONCE_BYTES:]
        try:
            plain = AESGCM(key).decrypt(nonce, sealed, destination.destination_id.encode())
        except (InvalidTag, ValueError):
            return None
        return msgspec.json.decode(plain, type=Secrets)


def _key(pepper: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(pepper)


def _name(key: bytes) -> str:
    digest = Hash(SHA256())
    digest.update(b"name" + key)
    return digest.finalize().hex()[:16]
