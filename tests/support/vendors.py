"""The vendors' stand-ins inside a test's own event loop, and clients of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from local.stack.ports import free_ports
from local.stack.vendors import payment_plans
from local.vendors.received import Received
from local.vendors.server import Options, running

CONTROL_TOKEN = "a control token for tests"
STRIPE_SECRET = "whsec_a_secret_of_stripe_for_tests"
WHOP_SECRET = "ws_a_secret_of_whop_for_tests"


@dataclass(frozen=True)
class VendorStandIns:
    """Running stand-ins; `http` speaks to their own routes, `received` holds what came in."""

    url: str
    smtp_port: int
    http: httpx.AsyncClient
    received: Received

    def address(self, vendor: str) -> str:
        """The base address of one vendor, such as discord."""
        return f"{self.url}/{vendor}"

    async def order(self, vendor: str, action: str, **values: Any) -> dict[str, Any]:
        """What a customer does at stripe or whop; see local.vendors.shops.Order."""
        answer = await self.http.post(f"/shop/{vendor}/{action}", json=values)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def fault(self, vendor: str, **values: Any) -> None:
        """Makes a vendor fail its next requests; see local.vendors.behaviour.Fault."""
        answer = await self.http.post("/faults", json={"vendor": vendor, **values})
        assert answer.status_code == 204, answer.text


@asynccontextmanager
async def vendor_stand_ins(
    app_url: str = "http://127.0.0.1:9", discord_bot_token: str = ""
) -> AsyncIterator[VendorStandIns]:
    """The stand-ins on free ports, while the block runs; they send payment events to `app_url`."""
    port, smtp_port = free_ports(2)
    options = Options(
        "127.0.0.1",
        port,
        smtp_port,
        app_url,
        control_token=CONTROL_TOKEN,
        payment_plans=payment_plans(),
        stripe_secret=STRIPE_SECRET,
        whop_secret=WHOP_SECRET,
        discord_bot_token=discord_bot_token,
    )
    headers = {"Authorization": f"Bearer {CONTROL_TOKEN}"}
    url = f"http://127.0.0.1:{port}"
    async with running(options) as received, httpx.AsyncClient(base_url=url, headers=headers) as client:
        yield VendorStandIns(url, smtp_port, client, received)
