from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.decoding import decode
from shared.domain.trading.trades import Trade
from tests.support.api import Api
from tests.support.requests import PATH_VALUES, TRADE


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    yield made
    made.forget()


@pytest.fixture
async def reported(api: Api) -> None:
    """The trade that PATH_VALUES names, of the account that `Api.key` uses; each license has the key."""
    api.spare_keys = True
    trade = decode(msgspec.json.encode(TRADE | {"trade_id": PATH_VALUES["trade_id"]}), Trade)
    await api.stores.trades.record("acct-1", "key", [trade], None)
