"""Tests channels and retries notifications: `python -m operations.notify test|list|parked|retry`.

Settings come from the environment, then local.settings.json, then the stack that runs on STATE, as for
operations.license. A test goes to the vendor at once, past the outbox, so that it shows the answer.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from operations.command import UsageError, run_command
from operations.license import command_settings
from shared.adapters.notifications.apprise_senders import fault_of
from shared.container import Container
from shared.domain.notifications.attempts import Outcome
from shared.domain.notifications.channels import Channel
from shared.domain.notifications.events import Event
from shared.domain.notifications.listing import StoredNotification
from shared.errors import NotFound

MAIL = "mail"


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the command is done, 1 if it was refused or failed, 2 if an argument cannot be used."""
    return run_command(_run(_parser().parse_args(argv)))


async def _run(options: argparse.Namespace) -> int:
    container = Container(command_settings(os.environ))
    try:
        match options.command:
            case "test":
                return await _test(container, options.channel, options.to)
            case "list":
                print("\n".join(_described(container)))
            case "parked":
                page = await container.notification_lists.page(
                    state="parked", lane=None, before=None, limit=options.limit
                )
                print("\n".join(map(_line, page.notifications)) or "nothing was given up")
            case "retry":
                actor = f"notify command of {getpass.getuser()}"
                await container.notification_lists.retry(options.notification_id, actor)
                print(f"{options.notification_id} is tried again within seconds.")
    finally:
        await container.close()
    return 0


async def _test(container: Container, wanted: str, to: str | None) -> int:
    """Sends a test to the channels of this name or kind, or by mail; 1 if one of them does not take it."""
    now = datetime.now(UTC)
    event = Event(event_id="test", kind="test", at=now, values={"note": f"by {getpass.getuser()}"})
    if wanted == MAIL:
        if to is None:
            raise UsageError("A mail needs an address: add --to you@example.com.")
        outcomes = {f"mail to {to}": await container.receivers.to_mail(to, event)}
    else:
        chosen = [each for each in container.channels if wanted in (each.name, each.kind)]
        if not chosen:
            raise NotFound(f"There is no channel {wanted}; `list` shows them.")
        outcomes = {
            f"{each.name} ({each.kind})": await container.receivers.to_channel(each.name, event)
            for each in chosen
        }
    for name, outcome in outcomes.items():
        print(f"{name}: {_told(outcome)}")
    return 0 if all(outcome.kind == "sent" for outcome in outcomes.values()) else 1


def _told(outcome: Outcome) -> str:
    wait = f" It asks to wait {outcome.retry_after_s:g} s." if outcome.retry_after_s else ""
    return outcome.kind if outcome.kind == "sent" else f"{outcome.kind}. {outcome.error}{wait}"


def _described(container: Container) -> list[str]:
    """A line for each channel and the mail server, without their addresses."""
    addresses = container.settings.notifications.addresses
    names = [(each.name, each.setting, _events(each)) for each in container.channels]
    return [
        f"{name:<12} {setting:<20} {_state(addresses.get(setting, '')):<36} {events}"
        for name, setting, events in [*names, (MAIL, "NOTIFY_MAIL", "mails to the addresses of licenses")]
    ]


def _events(channel: Channel) -> str:
    delay = f", {channel.delay_s:g} s later" if channel.delay_s else ""
    plans = f" of the plans {', '.join(channel.plans)}" if channel.plans else ""
    return f"{channel.kind}: {', '.join(channel.events)}{plans}{delay}"


def _state(address: str) -> str:
    return "no address" if not address else fault_of(address) or "ready"


def _line(stored: StoredNotification) -> str:
    return (
        f"{stored.notification_id}  {stored.kind:<20} {stored.lane:<32} {stored.tries} tries, "
        f"{stored.unanswered} without an answer: {stored.error}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.notify", description="Tests channels, and retries what was given up."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    test = commands.add_parser("test", help="send a test, and show what the vendor answers")
    test.add_argument("channel", help="a channel by its name or kind, such as ops or discord; or mail")
    test.add_argument("--to", help="with mail: the address that gets it")
    commands.add_parser("list", help="show the channels, and whether each has an address")
    parked = commands.add_parser("parked", help="show what was given up, the newest first")
    parked.add_argument("--limit", type=int, default=50, choices=range(1, 201), metavar="1..200")
    retry = commands.add_parser("retry", help="let a notification be tried again that was given up")
    retry.add_argument("notification_id", type=UUID, help="as `parked` shows it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
