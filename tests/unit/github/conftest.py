"""Provides a bench that runs a workflow's script with stand-ins for its commands."""

from pathlib import Path

import pytest

from tests.support.workflows import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
