"""Composes the stand-ins into one HTTP server and one mail server, and runs them until a signal stops it."""

import asyncio
import contextlib
import hmac
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from local.vendors.behaviour import Fault, Faults, Handler
from local.vendors.delivery import Sender
from local.vendors.discord import Discord
from local.vendors.discord import refuse as refuse_discord
from local.vendors.mail import mail_protocol
from local.vendors.messengers import (
    PagerDuty,
    Slack,
    Telegram,
    Twilio,
    refuse_pagerduty,
    refuse_slack,
    refuse_telegram,
    refuse_twilio,
)
from local.vendors.received import Received
from local.vendors.shops import Order, Shops
from local.vendors.stripe_shop import Unknown
from local.vendors.webhook import WebhookReceiver

MAX_BODY_BYTES = 10_000_000
MAX_WAIT_S = 60.0


@dataclass(frozen=True)
class Options:
    """`app_url` is the app that gets payment events; `control_token` opens the stand-ins' own routes.

    `payment_plans` is the app's setting PAYMENT_PLANS, which says what is for sale.
    """

    host: str
    port: int
    smtp_port: int
    app_url: str
    control_token: str = field(repr=False)
    payment_plans: str = ""
    stripe_secret: str = field(default="", repr=False)
    whop_secret: str = field(default="", repr=False)
    discord_bot_token: str = field(default="", repr=False)


class Control:
    """What people and tests ask of the stand-ins: what came in, what goes wrong next, what is bought."""

    def __init__(self, received: Received, faults: Faults, hooks: WebhookReceiver, shops: Shops) -> None:
        self._received = received
        self._faults = faults
        self._hooks = hooks
        self._shops = shops

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/received", self.received),
            web.post("/faults", self.plan),
            web.put("/webhooks/{name}", self.set_secret),
            web.get("/shop/{vendor}", self.deliveries),
            web.post("/shop/{vendor}/{action}", self.order),
        ]

    async def received(self, request: web.Request) -> web.Response:
        """Entries of `vendor` (or of all) after the number `after`; waits up to `wait_s` for a first one."""
        after = int(request.query.get("after", "0"))
        wait_s = min(float(request.query.get("wait_s", "0")), MAX_WAIT_S)
        found = await self._received.wait(request.query.get("vendor"), after, wait_s)
        return web.json_response({"received": found})

    async def plan(self, request: web.Request) -> web.Response:
        """Plans a fault."""
        self._faults.plan(msgspec.json.decode(await request.read(), type=Fault))
        return web.Response(status=204)

    async def set_secret(self, request: web.Request) -> web.Response:
        """Gives a webhook receiver its secret."""
        self._hooks.set_secret(request.match_info["name"], str((await request.json())["secret"]))
        return web.Response(status=204)

    async def deliveries(self, request: web.Request) -> web.Response:
        """What was sent of `vendor`, with the answers."""
        return web.json_response({"deliveries": self._shops.deliveries(request.match_info["vendor"])})

    async def order(self, request: web.Request) -> web.Response:
        """Carries out an action of a customer, and sends its events."""
        order = msgspec.json.decode(await request.read() or b"{}", type=Order)
        answer = await self._shops.carry_out(
            request.match_info["vendor"], request.match_info["action"], order
        )
        return web.json_response(answer)


@contextlib.asynccontextmanager
async def running(options: Options) -> AsyncIterator[Received]:
    """The stand-ins, while the block runs; listens on the ports of `options`."""
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        received = Received()
        faults = Faults(
            {
                "discord": refuse_discord,
                "telegram": refuse_telegram,
                "slack": refuse_slack,
                "twilio": refuse_twilio,
                "pagerduty": refuse_pagerduty,
            }
        )
        hooks = WebhookReceiver(received)
        senders = {
            "stripe": Sender("stripe", options.app_url, options.stripe_secret, session),
            "whop": Sender("whop", options.app_url, options.whop_secret, session),
        }
        for sender in senders.values():
            stack.push_async_callback(sender.close)
        app = web.Application(
            client_max_size=MAX_BODY_BYTES,
            middlewares=[_guard(options.control_token), faults.middleware],
        )
        app.add_routes([web.get("/health", _health)])
        app.add_routes(Control(received, faults, hooks, Shops(options.payment_plans, senders)).routes())
        vendors = (
            Discord(received, options.discord_bot_token),
            Telegram(received),
            Slack(received),
            Twilio(received),
            PagerDuty(received),
            hooks,
        )
        for vendor in vendors:
            app.add_routes(vendor.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, options.host, options.port).start()
        mail = await asyncio.get_running_loop().create_server(
            lambda: mail_protocol(received, faults), options.host, options.smtp_port
        )
        stack.callback(mail.close)
        yield received


async def serve(options: Options) -> None:
    """Serves until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with running(options):
        await stop.wait()


async def _health(request: web.Request) -> web.Response:
    del request
    return web.json_response({"status": "pass"})


_CONTROL = ("/received", "/faults", "/webhooks", "/shop")


def _guard(token: str) -> Middleware:
    """Lets only callers with the token use the stand-ins' own routes, because mails hold claim links."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(_CONTROL):
            return await handler(request)
        sent = request.headers.get("Authorization", "")
        if not hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
            return web.json_response({"error": "the control token is missing or wrong"}, status=401)
        try:
            return await handler(request)
        except (KeyError, ValueError, Unknown) as error:  # a msgspec or JSON error is a ValueError
            return web.json_response({"error": str(error)}, status=400)

    return guard
