"""Installs something once for each version of its requirements, in one process at a time."""

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path

from local.places import SCRATCH

_LOCKS = SCRATCH / "locks"
_STAMP = "installed-requirements"


def install_once(product: Path, home: Path, requirements: bytes, install: Callable[[], None]) -> None:
    """Runs `install`, which makes `product` in `home`, unless a stamp says that it did for `requirements`.

    If `install` raises, the error passes through and no stamp is written.
    """
    # `home` counts too, because an environment does not work after a move.
    wanted = hashlib.sha256(str(home).encode() + requirements).hexdigest()
    stamp = home / _STAMP

    def is_done() -> bool:
        return product.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == wanted

    if is_done():
        return
    _LOCKS.mkdir(parents=True, exist_ok=True)
    # Not in `home`, because `install` may empty it.
    lock = _LOCKS / hashlib.sha256(str(home).encode()).hexdigest()
    with lock.open("w") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX)
        if not is_done():  # another process may have done it while we waited
            install()
            stamp.write_text(wanted, encoding="ascii")
