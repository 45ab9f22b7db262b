from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.decoding import decode
from shared.domain.trading.trades import Trade
from tests.support.api import Api
from tests.support.payment_histories import Customer
from tests.support.requests import PATH_VALUES, TRADE


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    yield made
    made.forget()


@pytest.fixture
async def reported(api: Api) -> None:
    """Stores what PATH_VALUES names, and a second payment event, an ignored one; each license has the key."""
    api.spare_keys = True
    named = {"trade_id": PATH_VALUES["trade_id"]}
    trade = decode(msgspec.json.encode(TRADE | named), Trade)
    await api.stores.trades.record("acct-1", "key", [trade], None)
    event = Customer("stripe").events[0]
    await api.stores.payments.add(event, api.clock())
    ignored = msgspec.structs.replace(event, event_id="evt_2", kind="ignored", why_ignored="a test event")
    await api.stores.payments.add(ignored, api.clock())
