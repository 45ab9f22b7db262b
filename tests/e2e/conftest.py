"""The whole stack, running once for all end-to-end tests that only use it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.running import RunningStack
from tests.support.stacks import local_stack


@contextmanager
def stack_directory() -> Iterator[Path]:
    """Unlike pytest's own, one that PostgreSQL can enter as another user when root runs the tests;
    it would keep its data outside of the state directory otherwise, and nobody would remove that."""
    made = Path(tempfile.mkdtemp(prefix="signal-cloud-e2e-"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory for the state of stacks."""
    with stack_directory() as made:
        yield made


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    # More heartbeats than in Azure, because tests wait for the next one.
    often = "*/2 * * * * *"
    with (
        stack_directory() as made,
        local_stack("up", made / "state", HEARTBEAT_SCHEDULE=often) as started,
    ):
        started.await_ready()
        yield RunningStack(started.state)
