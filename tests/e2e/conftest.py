"""The whole stack, running once for all end-to-end tests that only use it."""

from collections.abc import Iterator

import pytest

from tests.e2e.running import RunningStack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack") / "state") as running:
        yield running
