from collections.abc import AsyncIterator

import pytest

from tests.support.api import Api


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    yield made
    made.forget()
