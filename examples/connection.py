"""Signal Cloud's contract for bot.py: HTTP with retries, the Web PubSub feed, and trade reports."""

import contextlib
import itertools
import json
import queue
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from azure.messaging.webpubsubclient import WebPubSubClient, WebPubSubClientCredential
from azure.messaging.webpubsubclient.models import CallbackType, OnGroupDataMessageArgs

HTTP_TIMEOUT_S = 10.0
FLUSH_PATIENCE_S = 15.0
TRADES_PER_REPORT = 500
REPORT_EVERY_S = 0.5
# If a region is lost, so are the last trades that it acknowledged: far less than this, see README.md.
KEEP_REPORTED_S = 15 * 60.0
# Heartbeats come every 10 s: after two and a half the connection is taken for dead.
SILENCE_S = 25.0
# Payment or an operator lifts the first two; the same key then works again. The others mean that another bot
# has the place of this one: it waits until the place is free.
PASSING = ("license_suspended", "license_expired", "session_lost", "session_taken")
PAUSE_S = 5.0
VERSION = "example-1"
# The client can stay in its recovering state for ever, so a fresh one is made after this long.
DISCONNECTED_S = 6.0


class Refused(Exception):
    """The server will not accept this however often it is asked; `code` is from its problem+json."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code


class GaveUp(Exception):
    """The server could not be reached within the patience given."""


class Paused(GaveUp):
    """The license gives no access just now: it has expired, is suspended, or another bot has its place."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class Journal:
    """What the bot tells the world: JSON lines for programs, or one short line for people."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()

    def tell(self, event: str, **facts: Any) -> None:
        if self._as_json:
            text = json.dumps({"event": event, "at": datetime.now(UTC).isoformat(), **facts}, default=str)
        elif event == "status":
            return
        else:
            text = f"{event}: " + ", ".join(f"{name} {value}" for name, value in facts.items())
        with self._lock, contextlib.suppress(BrokenPipeError):
            print(text, flush=True)


class Api:
    """The HTTP side of the contract; retries what is worth a retry and nothing else.

    `session_id` is the session that this bot holds: each call says so, which keeps it.
    """

    def __init__(self, url: str, key: str, journal: Journal) -> None:
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}", "User-Agent": "signal-cloud-example-bot"},
            timeout=HTTP_TIMEOUT_S,
        )
        self._journal = journal
        self._away = False
        self.session_id: str | None = None

    def call(
        self, method: str, path: str, patience_s: float, stop: threading.Event | None = None, **kwargs: Any
    ) -> Any:
        """The answer's JSON; raises Refused or Paused, or GaveUp after `patience_s` or when `stop` is set."""
        deadline = time.monotonic() + patience_s
        for attempt in itertools.count():
            wait_s = random.uniform(0.5, 1) * min(0.1 * 2 ** min(attempt, 6), 5.0)  # noqa: S311 - jitter
            held = {} if self.session_id is None else {"Session-Id": self.session_id}
            try:
                answer = self._client.request(method, path, headers=held, **kwargs)
            except httpx.TransportError as error:
                problem = type(error).__name__
            else:
                if answer.is_success:
                    self._away = False
                    return answer.json()
                problem = str(answer.status_code)
                if answer.status_code != 429 and answer.status_code < 500:
                    refusal = _refusal(answer)
                    if refusal.code == "session_lost":
                        self.session_id = None
                    raise refusal
                with contextlib.suppress(ValueError):
                    wait_s = max(wait_s, float(answer.headers.get("Retry-After", "0")))
            if not self._away:
                self._away = True
                self._journal.tell("api_away", problem=problem, path=path)
            if time.monotonic() + wait_s > deadline:
                raise GaveUp(problem)
            if stop is None:
                time.sleep(wait_s)
            elif stop.wait(wait_s):
                raise GaveUp("stopping")
        raise AssertionError("unreachable: the loop has no end")


def _refusal(answer: httpx.Response) -> Refused | Paused:
    try:
        problem = answer.json()
    except ValueError:
        return Refused(answer.status_code, "", answer.text[:200])
    code, detail = problem.get("code", ""), problem.get("detail", "")
    if code in PASSING:
        return Paused(code, detail)
    return Refused(answer.status_code, code, detail)


class Reporter:
    """Sends finished trades in batches, on a thread of its own; keeps each until it is acknowledged.

    It remembers acknowledged trades for 15 minutes more, and `report_again` sends those once more.
    """

    def __init__(self, api: Api, journal: Journal, fatal: Callable[[str], None]) -> None:
        self._api = api
        self._journal = journal
        self._fatal = fatal
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self._batch: list[dict[str, Any]] = []
        self._stopping = threading.Event()
        self._again = threading.Event()
        self._reported: deque[tuple[float, dict[str, Any]]] = deque()
        self._deadline = float("inf")
        self.acknowledged = 0
        self._thread = threading.Thread(target=self._run, name="reporter")
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._waiting.qsize() + len(self._batch)

    def add(self, trade: dict[str, Any]) -> None:
        self._journal.tell("trade", trade=trade)
        self._waiting.put(trade)

    def report_again(self) -> None:
        """Send the acknowledged trades of the last minutes again; for the server they are duplicates."""
        self._again.set()

    def flush(self) -> int:
        """Send what waits, for a bounded time; returns how many could not be sent."""
        self._deadline = time.monotonic() + FLUSH_PATIENCE_S
        self._stopping.set()
        self._thread.join()
        return self.waiting

    def _run(self) -> None:
        while not (self._stopping.wait(REPORT_EVERY_S) and self.waiting == 0):
            if self._again.is_set():
                self._again.clear()
                self._journal.tell("report_again", trades=len(self._reported))
                while self._reported:
                    self._waiting.put(self._reported.popleft()[1])
            with contextlib.suppress(queue.Empty):
                while len(self._batch) < TRADES_PER_REPORT:
                    self._batch.append(self._waiting.get_nowait())
            try:
                if self._batch:
                    self._send()
            except GaveUp as error:
                if time.monotonic() > self._deadline:
                    return
                if isinstance(error, Paused):
                    self._stopping.wait(PAUSE_S)
            except Refused as error:
                self._fatal(f"trades refused: {error}")
                return

    def _send(self) -> None:
        """Sends the batch; each of its trades is then recorded, or refused with a reason of its own."""
        batch = self._batch
        try:
            answer = self._api.call("POST", "/api/trades", 3.0, json={"trades": batch})
        except Refused as error:
            if error.status in (401, 403):
                raise
            for trade in batch:
                self._journal.tell("trade_refused", trade_id=trade["trade_id"], problem=str(error))
        else:
            self.acknowledged += answer["accepted"]
            self._remember(batch, {result["trade_id"] for result in answer["results"]})
            for result in answer["results"]:
                self._journal.tell("reported", trade_id=result["trade_id"], status=result["status"])
            for refused in answer["refused"]:
                trade_id = batch[refused["index"]]["trade_id"]
                self._journal.tell("trade_refused", trade_id=trade_id, problem=refused["message"])
        self._batch = []

    def _remember(self, batch: list[dict[str, Any]], recorded: set[str]) -> None:
        now = time.monotonic()
        self._reported.extend((now, trade) for trade in batch if trade["trade_id"] in recorded)
        while self._reported and now - self._reported[0][0] > KEEP_REPORTED_S:
            self._reported.popleft()


class Feed:
    """The Web PubSub side: a client, and a watchdog that makes a fresh one when it has gone quiet.

    It calls `moved` if it is sent to another hub than before, because another region serves now.
    """

    def __init__(
        self,
        api: Api,
        symbols: list[str],
        inbox: "queue.Queue[Any]",
        journal: Journal,
        fatal: Callable[[str], None],
        *,
        instance: str,
        moved: Callable[[], None],
    ) -> None:
        self._instance = instance
        self._moved = moved
        self._host = ""
        self._api = api
        self._symbols = symbols
        self._inbox = inbox
        self._journal = journal
        self._fatal = fatal
        self._stop = threading.Event()
        self._heard = 0.0
        self._is_lost = False
        self._groups: list[str] = []
        self._thread = threading.Thread(target=self._run, name="feed")
        self._thread.start()

    def close(self) -> None:
        """Disconnects, and frees the place for the next bot."""
        self._stop.set()
        self._thread.join()
        if self._api.session_id is not None:
            with contextlib.suppress(Refused, GaveUp):
                self._api.call("DELETE", f"/api/sessions/{self._api.session_id}", 2.0)

    def renew(self) -> None:
        """Negotiate again, because the server is about to close this connection for good."""
        self._is_lost = True

    def _run(self) -> None:
        pause_s = 0.5
        while not self._stop.is_set():
            client = self._client()
            try:
                client.open()
                for group in self._groups:
                    client.join_group(group)
            except Refused as error:
                self._fatal(f"not admitted: {error}")
                return
            except Paused as error:
                self._journal.tell("paused", problem=str(error))
                pause_s = PAUSE_S
            except Exception as error:  # noqa: BLE001 - the client raises many kinds, and all mean: try again
                self._journal.tell("connect_failed", problem=f"{type(error).__name__}: {error}")
                pause_s = min(pause_s * 2, 5.0)
            else:
                self._journal.tell("subscribed", groups=self._groups)
                self._inbox.put({"type": "subscribed"})
                pause_s = 0.5
                self._watch(client)
            # Closing can wait for threads that hang; nobody waits for it.
            threading.Thread(target=client.close, daemon=True).start()
            self._stop.wait(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter, so that bots spread

    def _client(self) -> WebPubSubClient:
        client = WebPubSubClient(
            WebPubSubClientCredential(self._negotiate),
            reconnect_retry_total=sys.maxsize,  # the default gives up for good after 3
            reconnect_retry_backoff_max=5.0,
            ack_timeout=5.0,
            start_timeout=10.0,
        )
        client.subscribe(CallbackType.GROUP_MESSAGE, self._on_message)
        client.subscribe(CallbackType.REJOIN_GROUP_FAILED, self._on_rejoin_failed)
        self._heard = time.monotonic()
        self._is_lost = False
        return client

    def _negotiate(self) -> str:
        # A plan may allow one bot a symbol: the name of this one lets it have its place again at once.
        asked = {"symbols": self._symbols, "instance": self._instance, "version": VERSION}
        access = self._api.call("POST", "/api/ws/negotiate", 5.0, self._stop, json=asked)
        self._api.session_id = access["session"]["session_id"]
        self._groups = access["groups"]
        host = urlsplit(access["url"]).netloc
        if self._host and host != self._host:
            self._journal.tell("moved", hub=host)
            self._moved()
        self._host = host
        return str(access["url"])

    def _on_message(self, args: OnGroupDataMessageArgs) -> None:
        self._heard = time.monotonic()
        self._inbox.put(args.data)

    def _on_rejoin_failed(self, _: object) -> None:
        self._is_lost = True

    def _watch(self, client: WebPubSubClient) -> None:
        connected = time.monotonic()
        while not self._stop.wait(0.5):
            now = time.monotonic()
            if client.is_connected():
                connected = now
            if now - connected > DISCONNECTED_S or now - self._heard > SILENCE_S or self._is_lost:
                self._journal.tell("reconnecting", silent_s=round(now - self._heard, 1))
                return
