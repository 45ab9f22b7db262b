from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.access.hooks import HookRequest
from shared.domain.access.licenses import ApiKey, License
from shared.domain.decoding import decode
from shared.domain.trading.trades import Trade
from tests.support.api import Api
from tests.support.payment_histories import Customer
from tests.support.requests import PATH_VALUES, TRADE
from tests.support.sample_notifications import put_notification


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    yield made
    made.forget()


@pytest.fixture
async def reported(api: Api) -> None:
    """Stores what PATH_VALUES names: a trade of the account of `Api.key`; a license and key of another;
    a payment event, before an ignored one.
    """
    api.spare_keys = True
    trade = decode(msgspec.json.encode(TRADE | {"trade_id": PATH_VALUES["trade_id"]}), Trade)
    await api.stores.trades.record("acct-1", "key", [trade], None)
    license_id, public_id = PATH_VALUES["license_id"], PATH_VALUES["public_id"]
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
    await put_notification(api)


@pytest.fixture
async def hooked(api: Api) -> str:
    """The secret of the hook that PATH_VALUES names, of the account that `Api.key` uses."""
    key = await api.key("publisher")
    made = await api.services.hook_registry("tester").create(key.key.license_id, HookRequest(name="chart"))
    hook_id = PATH_VALUES["hook_id"]
    del api.stores.hooks.stored[made.hook.hook_id]
    await api.stores.hooks.add(msgspec.structs.replace(made.hook, hook_id=hook_id))
    return made.url.rpartition("/")[2]
