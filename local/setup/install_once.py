"""Installs what is not there yet: a stamp tells for which requirements, and one process does it for all."""

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path

from local.places import SCRATCH

_LOCKS = SCRATCH / "locks"
_STAMP = "installed-requirements"


def install_once(product: Path, home: Path, requirements: bytes, install: Callable[[], None]) -> None:
    """Runs `install`, which makes `product` in `home`, unless it did so for these requirements.

    Whatever `install` raises passes through, and then it is not done.
    """
    # An environment does not survive a move.
    wanted = hashlib.sha256(str(home).encode() + requirements).hexdigest()
    stamp = home / _STAMP

    def is_done() -> bool:
        return product.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == wanted

    if is_done():
        return
    _LOCKS.mkdir(parents=True, exist_ok=True)
    # Beside `home`, which `install` may empty.
    lock = _LOCKS / hashlib.sha256(str(home).encode()).hexdigest()
    with lock.open("w") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX)
        if not is_done():  # else another process did it while we waited
            install()
            stamp.write_text(wanted, encoding="ascii")
