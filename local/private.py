"""Keeps files and directories of the local stack from all but their owner."""

from pathlib import Path

# What our processes write, such as data, logs and traces, only their owner can read.
PRIVATE_UMASK = 0o077


def private_directory(directory: Path) -> Path:
    """Makes a directory that only its owner can enter; one that exists may have had other rights."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    return directory


def private_file(path: Path) -> Path:
    """Makes a file that only its owner can read; one that exists may have had other rights."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path
