"""`python -m operations.smoke` against the running stack, and against deployments that are broken."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import pytest

from operations import smoke
from operations.smoke import Api, smoke_test
from shared.version import VERSION
from tests.support.places import ROOT
from tests.support.ports import free_port
from tests.support.running import RunningStack

# What a broken deployment answers in the place of the real one: (status, body) or None for the real answer.
Break = Callable[[str, str, int, bytes], tuple[int, bytes] | None]


def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "operations.smoke", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "HOST"} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_running_stack_passes(stack: RunningStack) -> None:
    account = stack.new_key()
    code, out, err = run(stack.base_url, "--expect-version", VERSION, SIGNAL_CLOUD_KEY=account["key"])
    assert (code, err) == (0, ""), out
    lines = out.splitlines()
    assert lines[0] == f"ok      version     {VERSION}"
    assert [line.split()[:2] for line in lines[1:]] == [["ok", name] for name in smoke.CHECKS]
    assert account["key"] not in out


def test_an_address_by_variable_is_as_good(stack: RunningStack) -> None:
    code, out, _ = run(SIGNAL_CLOUD_KEY=stack.new_key()["key"], HOST=stack.base_url)
    assert code == 0, out


def test_another_version_than_expected_fails(stack: RunningStack) -> None:
    code, out, _ = run(
        stack.base_url, "--expect-version", "9.9.9", "--wait", "0", SIGNAL_CLOUD_KEY=stack.new_key()["key"]
    )
    assert code == 1
    assert out == f"FAILED  version     after 0 s: {VERSION} answers, not 9.9.9\n"


def test_nobody_there_fails() -> None:
    code, out, _ = run(f"http://127.0.0.1:{free_port()}", "--wait", "0", SIGNAL_CLOUD_KEY="x")
    assert code == 1
    assert out.startswith("FAILED  version     after 0 s: GET openapi.json: ClientConnectorError")


def test_wrong_use_is_told_at_once() -> None:
    code, _, err = run("signals.example.com", SIGNAL_CLOUD_KEY="")
    assert code == 2
    assert "SIGNAL_CLOUD_KEY is not set" in err
    assert "must begin with https://" in err
    assert run(SIGNAL_CLOUD_KEY="x")[0] == 2


@contextmanager
def broken(base_url: str, alter: Break) -> Iterator[str]:
    """A proxy before the stack that alters some answers; its address."""

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {
                name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers
            }
            answer = httpx.request(self.command, base_url + self.path, content=body, headers=headers)
            status, content = alter(self.command, self.path, answer.status_code, answer.content) or (
                answer.status_code,
                answer.content,
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815 - names that the base class asks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _with(content: bytes, **values: object) -> bytes:
    return json.dumps(json.loads(content) | values).encode()


def _unready(_: str, path: str, status: int, content: bytes) -> tuple[int, bytes] | None:
    check = {"database": {"status": "fail", "latency_ms": 1, "detail": "migrations missing: 0005"}}
    return (503, json.dumps({"status": "fail", "checks": check}).encode()) if path.endswith("ready") else None


def _open_to_all(_: str, path: str, status: int, content: bytes) -> tuple[int, bytes] | None:
    return (200, b"{}") if path.endswith("/license") else None


def _never_cached(_: str, path: str, status: int, content: bytes) -> tuple[int, bytes] | None:
    return (status, _with(content, cached=False)) if path.endswith("get_confidence") else None


def _forged_token(_: str, path: str, status: int, content: bytes) -> tuple[int, bytes] | None:
    if not path.endswith("negotiate"):
        return None
    return status, _with(content, url=json.loads(content)["url"][:-4] + "AAAA")


def _recorded_twice(method: str, path: str, status: int, content: bytes) -> tuple[int, bytes] | None:
    if (method, path.partition("?")[0][-6:]) != ("POST", "trades"):
        return None
    return status, content.replace(b'"duplicate"', b'"recorded"')


def _never_withdrawn(method: str, path: str, status: int, content: bytes) -> tuple[int, bytes] | None:
    """As a host answers that passes no DELETE on."""
    return (404, b"") if method == "DELETE" else None


def _html(_: str, path: str, status: int, content: bytes) -> tuple[int, bytes] | None:
    return (200, b"<html>Your app is up and running</html>") if path.endswith("/health") else None


def _gateway(_: str, path: str, status: int, content: bytes) -> tuple[int, bytes] | None:
    return (503, b"<html>Our services\nare unavailable</html>") if path.endswith("/license") else None


@pytest.mark.parametrize(
    ("alter", "check", "told"),
    [
        (_gateway, "keys", "found 503"),
        (_unready, "ready", "answered 503: database fail (migrations missing: 0005)"),
        (_open_to_all, "keys", "expected 401 key_missing, found 200"),
        (_never_cached, "confidence", "no answer came from the cache"),
        (_forged_token, "realtime", "no WebSocket: WSServerHandshakeError"),
        (_recorded_twice, "trade", "expected duplicate, found recorded"),
        (_never_withdrawn, "trade", "DELETE trades/smoke-"),
        (_html, "health", "GET health: JSONDecodeError"),
    ],
)
def test_what_is_broken_is_found_and_nothing_else(
    stack: RunningStack, capsys: pytest.CaptureFixture[str], alter: Break, check: str, told: str
) -> None:
    async def tested(url: str, key: str) -> bool:
        async with aiohttp.ClientSession() as session:
            return await smoke_test(Api(session, url, key, "ES"), None, 5)

    with broken(stack.base_url, alter) as url:
        assert asyncio.run(tested(url, stack.key("bot"))) is False
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("FAILED")]
    assert line.split()[1] == check
    assert told in line
    assert "access_token" not in line
