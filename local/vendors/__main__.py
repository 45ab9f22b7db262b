"""Runs the vendors' stand-ins, or tells those of a running stack what a customer does.

python -m local.vendors serve ...                 what `make up` starts
python -m local.vendors stripe buy --plan pro     a customer's action; the same for whop
python -m local.vendors received --vendor smtp    what came in, such as mails
python -m local.vendors fault discord --status 429 --count 3
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.vendors.behaviour import VENDORS
from local.vendors.server import Options, serve
from local.vendors.shops import ACTIONS
from local.vendors.shown import shown

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 30.0
_SECRETS = {
    "control_token": "VENDORS_CONTROL_TOKEN",
    "stripe_secret": "STRIPE_WEBHOOK_SECRET",
    "whop_secret": "WHOP_WEBHOOK_SECRET",
    "discord_bot_token": "DISCORD_BOT_TOKEN",
    "payment_plans": "PAYMENT_PLANS",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.vendors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve", help="run in the foreground; secrets come from the environment")
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=8025)
    server.add_argument("--smtp-port", type=int, default=8026)
    server.add_argument("--app-url", default="http://127.0.0.1:7071")
    for vendor in ("stripe", "whop"):
        _add_shop(commands.add_parser(vendor, help=f"act as a customer who buys with {vendor.title()}"))
    received = commands.add_parser("received", help="show what the stand-ins took in")
    received.add_argument("--vendor", choices=VENDORS, help="one of them alone; smtp are mails")
    received.add_argument("--after", type=int, default=0, help="only entries with a higher number")
    received.add_argument("--wait-s", type=float, default=0.0, help="wait so long for a first entry")
    fault = commands.add_parser("fault", help="make a vendor fail its next requests")
    fault.add_argument("vendor", choices=VENDORS)
    fault.add_argument(
        "--kind",
        default="status",
        choices=("status", "hang", "lost", "redirect", "huge"),
        help="an error, no answer, a request that is taken in and not answered, a redirect, a huge answer",
    )
    fault.add_argument("--count", type=int, default=1, help="of how many requests; 0 cancels what is planned")
    fault.add_argument("--status", type=int, default=500, help="the error of the kind status (default 500)")
    fault.add_argument("--retry-after-s", type=float, default=1.0, help="of a status 429 (default 1)")
    fault.add_argument("--name", default="", help="the receiver of the vendor webhook, by its name")
    for name in ("stripe", "whop", "received", "fault"):
        commands.choices[name].add_argument("--json", action="store_true", help="print JSON")
    for each in (parser, *commands.choices.values()):
        state = os.environ.get("STATE") or ".local"
        each.add_argument("--state", type=Path, default=Path(state), help="directory of the running stack")
    return parser


def _add_shop(shop: argparse.ArgumentParser) -> None:
    shop.add_argument("action", choices=ACTIONS)
    shop.add_argument("--plan", help="our plan (default pro)")
    shop.add_argument("--email", help="who buys, or whose subscription it is")
    shop.add_argument("--discord-user-id", help="buy: 15 to 20 digits, for the role at Discord")
    shop.add_argument("--trial-days", type=int, help="buy: days without payment at first")
    shop.add_argument("--subscription", help="which one (default: the youngest)")
    shop.add_argument("--cents", type=int, help="refund: a part of the price")
    shop.add_argument("--won", action="store_true", default=None, help="settle: the seller wins the dispute")
    shop.add_argument("--now", action="store_true", default=None, help="cancel: at once")
    shop.add_argument("--disorder", action="store_true", help="send the events in any order")
    shop.add_argument("--duplicates", type=int, default=1, help="send each event so many times")
    shop.add_argument("--forged", action="store_true", help="sign with a wrong secret")
    shop.add_argument("--old", action="store_true", help="sign with a time ten minutes ago")


def _serve(arguments: argparse.Namespace) -> int:
    secrets = {name: os.environ.get(variable, "") for name, variable in _SECRETS.items()}
    if not secrets["control_token"]:
        print(f"error: {_SECRETS['control_token']} is not set", file=sys.stderr)
        return 2
    options = Options(
        arguments.host, arguments.port, arguments.smtp_port, arguments.app_url.rstrip("/"), **secrets
    )
    asyncio.run(serve(options))
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    try:
        stack = json.loads((arguments.state / "stack.json").read_text(encoding="utf-8"))
        vendors = stack["vendors"]
    except (FileNotFoundError, KeyError):
        print(f"error: no stack with vendors runs on {arguments.state}: use make up", file=sys.stderr)
        return 1
    import httpx  # the server does without

    headers = {"Authorization": f"Bearer {vendors['control_token']}"}
    with httpx.Client(base_url=vendors["url"], headers=headers, timeout=TIMEOUT_S) as client:
        try:
            answer = _send(client, arguments)
        except httpx.TransportError as error:
            print(f"error: the vendors of {arguments.state} do not answer: {error!r}", file=sys.stderr)
            return 1
    found = answer.json() if answer.headers.get("Content-Type", "").startswith("application/json") else {}
    if answer.status_code >= 400:
        print(f"error: {found.get('error', answer.text)}", file=sys.stderr)
        return 1
    if arguments.command == "fault":
        found = _given(arguments, "vendor", "kind", "count")
    print(json.dumps(found, indent=2) if arguments.json else shown(found))
    return 0


def _send(client: "httpx.Client", arguments: argparse.Namespace) -> "httpx.Response":
    if arguments.command == "received":
        return client.get("/received", params=_given(arguments, "vendor", "after", "wait_s"))
    if arguments.command == "fault":
        fault = _given(arguments, "vendor", "kind", "count", "status", "retry_after_s", "name")
        return client.post("/faults", json=fault)
    whose = _given(arguments, "plan", "email", "discord_user_id", "subscription")
    details = _given(arguments, "trial_days", "cents", "won", "now")
    manner = _given(arguments, "disorder", "duplicates", "forged", "old")
    order = {**whose, **details, "manner": manner}
    return client.post(f"/shop/{arguments.command}/{arguments.action}", json=order)


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def main() -> int:
    """Runs one command; returns its exit status."""
    arguments = _parser().parse_args()
    return _serve(arguments) if arguments.command == "serve" else _ask(arguments)


if __name__ == "__main__":
    sys.exit(main())
