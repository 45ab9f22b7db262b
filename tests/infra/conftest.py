"""Lets the processes of one test run share recordings."""

import pytest

from tests.infra import recording


@pytest.fixture(scope="session", autouse=True)
def _recordings_are_shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    if worker_id != "master":
        # The parent of the directory that pytest-xdist gives to each process.
        recording.share_in(tmp_path_factory.getbasetemp().parent / "recordings")
