from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.access.licenses import License
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
    """What PATH_VALUES names: a trade of the account that `Api.key` uses, and another one's license."""
    trade = decode(msgspec.json.encode(TRADE | {"trade_id": PATH_VALUES["trade_id"]}), Trade)
    await api.stores.trades.record("acct-1", "key", [trade], None)
    license_id = PATH_VALUES["license_id"]
    await api.key_store.add_license(
        License(license_id=license_id, account_id="acct-2", created_at=api.clock())
    )
