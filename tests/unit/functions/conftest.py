from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.access.licenses import ApiKey, License
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
    """Stores what PATH_VALUES names: a trade of the account that `Api.key` uses, a license with a key, two
    payment events, of which the second is ignored, and in each license a spare key.
    """
    api.spare_keys = True
    trade = decode(msgspec.json.encode(TRADE | {"trade_id": PATH_VALUES["trade_id"]}), Trade)
    await api.stores.trades.record("acct-1", "key", [trade], None)
    license_id, public_id = PATH_VALUES["license_id"], PATH_VALUES["key_id"]
    license_ = License(license_id=license_id, account_id="acct-named", created_at=api.clock())
    await api.key_store.add_license(license_)
    await api.services.license_listing.note(license_)
    key = ApiKey(
        public_id=public_id, key_hash="0" * 64, license_id=license_id, scopes=("bot",), created_at=api.clock()
    )
    await api.key_store.add_keys([key])
    event = Customer("stripe").events[0]
    await api.stores.payments.add(event, api.clock())
    ignored = msgspec.structs.replace(event, event_id="evt_2", kind="ignored", why_ignored="a test event")
    await api.stores.payments.add(ignored, api.clock())
