"""Makes the key pair of a local stack's exports; only its owner can read the private key."""

from local.stack.state import StateDirectory, write_private
from shared.adapters.sealing import new_private_key, public_key_of

FILE = "license_export.key"


def export_key(state: StateDirectory) -> str:
    """The public key; the first call makes the pair."""
    path = state.root / FILE
    if not path.exists():
        write_private(path, new_private_key() + "\n")
    return public_key_of(path.read_text(encoding="ascii"))
