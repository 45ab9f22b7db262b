"""A customer who buys at a vendor's stand-in, claims a key and runs the example bot, as tests watch it."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from local.stack.vendors import ROLES
from tests.support.places import ROOT
from tests.support.running import RunningStack

TIMEOUT_S = 30.0
_CLAIM = re.compile(r"https?://\S+/api/claim/(\S+)")


def until[T](found: Callable[[], T], what: str, timeout_s: float = TIMEOUT_S) -> T:
    """The first true value of `found`, asked again and again."""
    deadline = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)
    return value


class Vendors:
    """The stand-ins of a running stack."""

    def __init__(self, stack: RunningStack) -> None:
        given = stack.document["vendors"]
        headers = {"Authorization": f"Bearer {given['control_token']}"}
        self._client = httpx.Client(base_url=given["url"], headers=headers, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._client.close()

    def order(self, vendor: str, action: str, **values: Any) -> dict[str, Any]:
        """A customer's action; every event of it is taken."""
        answer = self._client.post(f"/shop/{vendor}/{action}", json=values)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert all(each["is_taken"] for each in found["deliveries"]), found
        return found

    def received(self, vendor: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.get("/received", params={"vendor": vendor}).json()[
            "received"
        ]
        return found

    def mail(self, to: str, subject: str) -> dict[str, Any]:
        """The first mail to somebody with this subject; waits for it."""

        def found() -> dict[str, Any] | None:
            mails = [each for each in self.received("smtp") if each["to"] == [to]]
            return next((each for each in mails if subject in each["subject"].lower()), None)

        mail = until(found, f"a mail to {to} about {subject!r}")
        assert mail is not None
        return mail

    def role_changes(self, user: str, plan: str = "pro") -> list[str]:
        """`give` and `take` of the user's role of a plan at Discord, without repeats, in order."""
        changes = [
            str(each["role"])
            for each in self.received("discord")
            if (each.get("user"), each.get("role_id")) == (user, ROLES[plan])
        ]
        return [change for change, _ in itertools.groupby(changes)]


@dataclass
class Customer:
    """Somebody with a mail address, and a key once it is claimed."""

    stack: RunningStack
    vendors: Vendors
    email: str
    user: str
    key: str = ""

    def claim(self) -> dict[str, Any]:
        """Opens the page of the link in the mail, and takes the key, which works once."""
        text = self.vendors.mail(self.email, "ready")["text"]
        link = _CLAIM.search(text)
        assert link is not None, text
        page = httpx.get(link[0])
        assert page.status_code == 200
        assert "sc_live_" not in text + page.text
        answer = httpx.post(link[0])
        assert answer.status_code == 200, answer.text
        assert httpx.post(link[0]).json()["code"] == "claim_used"
        claimed: dict[str, Any] = answer.json()
        self.key = claimed["key"]
        return claimed

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.stack.base_url}/api/{path}", headers=self._headers)

    def post(self, path: str, body: object) -> httpx.Response:
        return httpx.post(f"{self.stack.base_url}/api/{path}", json=body, headers=self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


class WatchedBot:
    """The example bot in a process of its own, and what it has said so far."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}"))
        return [line for line in lines if line["event"] == name]

    def has_received(self, sequence: int) -> bool:
        return sequence in [event["sequence"] for event in self.events("received")]


@contextmanager
def example_bot(customer: Customer, log: Path) -> Iterator[WatchedBot]:
    """The bot with the customer's key, subscribed; it still runs when the block ends."""
    environment = {
        **os.environ,
        "SIGNAL_CLOUD_URL": customer.stack.base_url,
        "SIGNAL_CLOUD_KEY": customer.key,
    }
    argv = [sys.executable, str(ROOT / "examples" / "bot.py"), "--json-log", "--symbols", "ES"]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        bot = WatchedBot(log)
        until(lambda: bot.events("subscribed"), f"a subscription:\n{log.read_text()}")
        yield bot
        assert process.poll() is None, f"the bot has ended:\n{log.read_text()}"
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def published(stack: RunningStack) -> int:
    """Publishes an exit, which is accepted at every hour; its sequence."""
    with stack.client("publisher") as publisher:
        answer = publisher.post(
            "/signals",
            json={"symbol": "ES", "side": "LONG", "kind": "exit", "price": "6500.25"},
            headers={"Idempotency-Key": f"{datetime.now(UTC).timestamp()}"},
        )
    assert answer.is_success, answer.text
    return int(answer.json()["sequence"])
