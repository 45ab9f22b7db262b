"""Lists the ways in which a bot's entitlement ends, and the faults of Redis under which it ends."""

from collections.abc import Callable
from dataclasses import dataclass

from loadtests.attacks.revocation.valkey import Valkey
from loadtests.attacks.stack import BotKey


@dataclass(frozen=True)
class Ending:
    """`command` returns the license command's arguments; None: time ends it, at an instant set before."""

    name: str
    about: str
    command: Callable[[BotKey], list[str]] | None


ENDINGS = {
    ending.name: ending
    for ending in (
        Ending("revoke-license", "revoke the license", lambda bot: ["revoke", bot.license_id]),
        Ending("suspend", "suspend the license", lambda bot: ["suspend", bot.license_id]),
        Ending("license-expiry", "the license's time is over", None),
        Ending("rotate", "rotate --overlap 0s", lambda bot: ["rotate", bot.public_id, "--overlap", "0s"]),
        Ending("key-expiry", "the key's time is over", None),
        Ending("revoke-key", "revoke the key", lambda bot: ["revoke", bot.public_id]),
    )
}


def _nothing(valkey: Valkey) -> None:
    """Leaves Redis as it is."""


def _restart(valkey: Valkey) -> None:
    valkey.kill()
    valkey.start()


@dataclass(frozen=True)
class RedisFault:
    """What happens to Redis before the endings, right after them, and at the end of the watch."""

    name: str
    about: str
    before: Callable[[Valkey], None] = _nothing
    after: Callable[[Valkey], None] = _nothing
    heal: Callable[[Valkey], None] | None = None


FAULTS = {
    fault.name: fault
    for fault in (
        RedisFault("up", "Redis works"),
        RedisFault("hanging", "SIGSTOP before, SIGCONT after the watch", Valkey.hang, heal=Valkey.resume),
        RedisFault("killed", "killed before, started empty after the watch", Valkey.kill, heal=Valkey.start),
        RedisFault("restarted", "killed and started empty right after the endings", after=_restart),
    )
}
