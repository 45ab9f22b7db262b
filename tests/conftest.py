"""Tells xdist which tests belong in one process."""

from typing import Any

import pytest

INFRA = "tests/infra/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, all tests of infra/ share one process, because each would record the stacks."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return INFRA if nodeid.startswith(INFRA) else super()._split_scope(nodeid)

    return Scheduling(config, log)
