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
    """What PATH_VALUES names: a trade of the account that `Api.key` uses, and a payment event, before an ignored one."""
    named = {"trade_id": PATH_VALUES["trade_id"]}
    trade = decode(msgspec.json.encode(TRADE | named), Trade)
    await api.stores.trades.record("acct-1", "key", [trade], None)
    event = Customer("stripe").events[0]
    await api.stores.payments.add(event, api.clock())
    ignored = msgspec.structs.replace(event, event_id="evt_2", kind="ignored", why_ignored="a test event")
    await api.stores.payments.add(ignored, api.clock())
