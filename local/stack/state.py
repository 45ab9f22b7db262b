"""Keeps a stack's state directory: its lock, its secrets, its data, and stack.json while it is ready."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from local.private import private_directory, private_file


class StateInUse(Exception):
    """Another stack runs on this state directory."""


def write_private(path: Path, text: str) -> None:
    """Writes the whole file or nothing; from the first byte on, only the owner can read it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class StateDirectory:
    """`root` is STATE; `mode` is `run` (each start wipes its data) or `up` (its data is kept)."""

    root: Path
    mode: str

    @property
    def stack_file(self) -> Path:
        return self.root / "stack.json"

    @property
    def load_keys_file(self) -> Path:
        return self.root / "load_keys.txt"

    @property
    def data(self) -> Path:
        return self.root / self.mode

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Makes the directories and holds the lock; raises StateInUse."""
        private_directory(self.root)
        with private_file(self.root / "lock").open("a+", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateInUse(self._in_use(lock)) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self.stack_file.unlink(missing_ok=True)
            self.load_keys_file.unlink(missing_ok=True)
            if self.mode == "run":
                shutil.rmtree(self.data, ignore_errors=True)
            shutil.rmtree(self.logs, ignore_errors=True)
            private_directory(self.data)
            private_directory(self.logs)
            try:
                yield
            finally:
                self.stack_file.unlink(missing_ok=True)
                self.load_keys_file.unlink(missing_ok=True)

    def _in_use(self, lock: TextIO) -> str:
        lock.seek(0)
        return (
            f"a stack already runs on {self.root} (process {lock.read() or 'unknown'}): "
            "stop it, or give this one a directory and a port of its own, STATE=dir PORT=n"
        )

    def secret(self, name: str) -> str:
        """The secret of this name; the first call makes it and keeps it."""
        path = self.root / "secrets.json"
        kept: dict[str, str] = {}
        with contextlib.suppress(FileNotFoundError):
            kept = json.loads(path.read_text(encoding="utf-8"))
        if name not in kept:
            kept[name] = secrets.token_urlsafe(48)
            write_private(path, json.dumps(kept, indent=2) + "\n")
        return kept[name]

    def forget_secret(self, name: str) -> None:
        """Drops a secret that settings now give, so that no command uses the one made earlier."""
        path = self.root / "secrets.json"
        with contextlib.suppress(FileNotFoundError):
            kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            if kept.pop(name, None) is not None:
                write_private(path, json.dumps(kept, indent=2) + "\n")

    def read_keys(self) -> dict[str, str]:
        """API keys that an earlier start made for this mode's accounts, by name."""
        try:
            found: dict[str, str] = json.loads((self.data / "keys.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return found

    def write_keys(self, keys: dict[str, str]) -> None:
        write_private(self.data / "keys.json", json.dumps(keys, indent=2) + "\n")

    def read_load_keys(self) -> list[str]:
        try:
            return (self.data / self.load_keys_file.name).read_text(encoding="ascii").split()
        except FileNotFoundError:
            return []

    def keep_load_keys(self, keys: Sequence[str]) -> None:
        write_private(self.data / self.load_keys_file.name, "".join(f"{key}\n" for key in keys))

    def publish_load_keys(self, keys: Sequence[str]) -> None:
        write_private(self.load_keys_file, "".join(f"{key}\n" for key in keys))

    def publish(self, stack: dict[str, Any]) -> None:
        write_private(self.stack_file, json.dumps(stack, indent=2) + "\n")
