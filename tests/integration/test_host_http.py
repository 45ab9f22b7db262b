"""HTTP functions under the local host: what they see, what callers get."""

import http.client
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.host_app import APP
from tests.support.hosting import RunningHost, running_host, wait_for, write_app

# Far below the platform's default, so that the tests need not send 100 MB.
MAX_BODY_BYTES = 12 * 1024 * 1024


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    directory = write_app(tmp_path_factory.mktemp("app"), APP)
    environment = {
        "PYTHON_THREADPOOL_THREAD_COUNT": "4",
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(MAX_BODY_BYTES),
    }
    with running_host(directory, "http", "--port", "0", environment=environment) as running:
        yield running


@pytest.fixture
def client(host: RunningHost) -> Iterator[httpx.Client]:
    with host.client() as client:
        yield client


def test_a_function_sees_the_request_as_the_platforms_worker_makes_it(client: httpx.Client) -> None:
    request = client.build_request(
        "PUT",
        "/api/SEE/E%20S/7?q=a%20b&Q=c&empty=&sign=1%2B1",
        content=b'{"a": 1}',
        headers=[("X-Twice", "one"), ("x-twice", "two"), ("traceparent", "00-ab-cd-01")],
    )
    seen = client.send(request).json()
    assert seen["is_the_workers"]
    assert seen["method"] == "PUT"
    assert urlsplit(seen["url"]).path == "/api/SEE/E%20S/7"
    assert urlsplit(seen["url"]).query == "q=a%20b&Q=c&empty=&sign=1%2B1"
    assert seen["url"].startswith(str(client.base_url))
    assert seen["params"] == {"q": "a b,c", "sign": "1+1"}
    assert seen["route_params"] == {"symbol": "E S", "n": "7"}
    assert seen["headers"]["x-twice"] == "one,two"
    assert seen["body"] == '{"a": 1}'
    assert (seen["function"], seen["trace_parent"]) == ("see", "00-ab-cd-01")
    assert client.get("/api/see/ES").json()["route_params"] == {"symbol": "ES"}


def test_every_invocation_has_its_own_id(client: httpx.Client) -> None:
    ids = {client.get("/api/see/ES").json()["invocation_id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one) for one in ids)


def test_platform_headers_of_a_caller_never_arrive(client: httpx.Client) -> None:
    forged = {
        "X-MS-CLIENT-PRINCIPAL": "e30=",
        "x-ms-client-principal-id": "admin",
        "X-Ms-Token-Aad-Access-Token": "t",
        "X-ARR-SSL": "yes",
        "x-arr-clientcert": "cert",
        "X-Original-Url": "/admin",
        "X-AppService-Proto": "https",
        "Client-IP": "10.0.0.1",
    }
    kept = {"x-request-id": "r-1", "ce-type": "azure.webpubsub.sys.connect", "authorization": "Bearer k"}
    for _ in range(2):  # the server remembers header names
        headers = client.get("/api/see/ES", headers={**forged, **kept, "X-Forwarded-For": "10.0.0.1"}).json()[
            "headers"
        ]
        assert not {name.lower() for name in forged} & headers.keys()
        assert not headers["x-forwarded-for"].startswith("10.0.0.1")
        assert kept.items() <= headers.items()


def test_an_earlier_function_hides_a_later_one(client: httpx.Client) -> None:
    assert client.get("/api/signals/latest").text == "by_symbol"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/echo"), ("HEAD", "/api/signals/ES"), ("GET", "/api/none"), ("GET", "/echo")],
)
def test_no_function_for_path_and_method_is_404_without_a_body(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.content) == (404, b"")


def test_an_exception_is_an_empty_500_and_a_logged_traceback(client: httpx.Client, host: RunningHost) -> None:
    answer = client.get("/api/boom")
    assert (answer.status_code, answer.content) == (500, b"")
    output = wait_for(lambda: host.output() if "the reason for the log" in host.output() else None, "the log")
    assert "Function boom failed" in output
    assert "Traceback" in output


def test_a_wrong_return_type_is_a_500_that_says_why(client: httpx.Client, host: RunningHost) -> None:
    assert client.get("/api/wrong").status_code == 500
    wait_for(lambda: "must return HttpResponse or str, not dict" in host.output(), "the log")


def test_a_string_is_answered_as_text(client: httpx.Client) -> None:
    answer = client.get("/api/text")
    assert (answer.text, answer.headers["content-type"]) == ("plain \u20ac", "text/plain; charset=utf-8")


def test_the_last_of_repeated_response_headers_wins_and_cookies_all_arrive(client: httpx.Client) -> None:
    answer = client.get("/api/headers")
    assert answer.headers.get_list("x-a") == ["last"]
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert (answer.headers["content-length"], answer.content) == ("10", b"x" * 10)


def test_head_and_204_have_no_body(client: httpx.Client) -> None:
    head = client.head("/api/headers")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "10")
    assert (client.get("/api/empty").status_code, client.get("/api/empty").content) == (204, b"")


def test_sync_functions_run_side_by_side_and_leave_the_loop_free(host: RunningHost) -> None:
    with host.client() as one, host.client() as other:
        first = one.build_request("GET", "/api/meet")
        # Either alone waits for the other: they meet only if both run at once, off the loop.
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(one.send, first)
            assert other.get("/api/text").status_code == 200
            assert other.get("/api/meet").text == "met"
            assert waiting.result(timeout=10).text == "met"


def test_a_large_body_arrives_whole_plain_and_chunked(client: httpx.Client) -> None:
    body = bytes(range(256)) * 40_000
    assert client.post("/api/echo", content=body).content == body
    chunked = client.post("/api/echo", content=(body[at : at + 65_536] for at in range(0, len(body), 65_536)))
    assert "transfer-encoding" in chunked.request.headers
    assert chunked.content == body
    assert client.post("/api/echo").content == b""


def test_a_body_over_the_bound_is_refused_before_it_is_read(client: httpx.Client) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 0, timeout=10)
    connection.putrequest("POST", "/api/echo")
    connection.putheader("content-length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("content-type")) == (413, "application/problem+json")
    assert answer.getheader("connection") == "close"
    told = answer.read()
    assert b'"code":"body_too_large"' in told
    assert b"at most 12582912 bytes" in told
    connection.close()


def test_a_chunked_body_over_the_bound_is_refused_on_the_way(client: httpx.Client) -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as caller:
        caller.sendall(b"POST /api/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(MAX_BODY_BYTES // (1 << 20)):
            caller.sendall(chunk)
        try:
            caller.sendall(chunk)
            caller.sendall(chunk)
        except ConnectionError:
            pass  # the refusal came first and closed the connection
        assert b" 413 " in caller.recv(64)


def asked(client: httpx.Client, *requests: bytes) -> bytes:
    """All that the server says to `requests`, sent in one piece, the last of which closes the connection."""
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=20) as caller:
        caller.sendall(b"".join(requests))
        answer = b""
        while part := caller.recv(65_536):
            answer += part
    return answer


def get(path: str, *, last: bool = False) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: h\r\n{'Connection: close' if last else 'X-A: b'}\r\n\r\n".encode()


def test_a_thousand_requests_ahead_of_their_answers_are_answered_in_order(client: httpx.Client) -> None:
    requests = [get("/api/slow"), *[get("/api/signals/ES")] * 1_000, get("/api/text", last=True)]
    answer = asked(client, *requests)
    assert answer.count(b"HTTP/1.1 200 OK") == 1_002
    assert answer.index(b"slow") < answer.index(b"by_symbol")
    assert answer.endswith("plain \u20ac".encode())


def test_a_function_that_cancels_itself_is_a_500_and_the_connection_goes_on(client: httpx.Client) -> None:
    answer = asked(client, get("/api/gives-up"), get("/api/signals/ES", last=True))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"by_symbol")


@pytest.mark.parametrize(
    "malformed",
    [
        b"nonsense\r\n\r\n",
        b"GET /api/text HTTP/1.1\r\nHost h\r\n\r\n",
        b"POST /api/echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /api/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /api/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_malformed_request_is_refused_and_the_connection_closed(
    client: httpx.Client, malformed: bytes
) -> None:
    answer = asked(client, malformed)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer
    assert client.get("/api/text").status_code == 200


def test_a_header_that_would_add_headers_is_a_500_without_them(
    client: httpx.Client, host: RunningHost
) -> None:
    answer = asked(client, get("/api/injects"), get("/api/signals/ES", last=True))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"forged" not in answer
    assert answer.endswith(b"by_symbol")
    wait_for(lambda: "holds a control character" in host.output(), "the log")


def test_requests_after_one_another_share_a_connection(client: httpx.Client) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 0, timeout=10)
    connection.connect()
    used = connection.sock
    for _ in range(3):
        connection.request("GET", "/api/text")
        assert connection.getresponse().read()
        assert connection.sock is used
    connection.close()


def test_a_half_sent_request_runs_no_function(client: httpx.Client, host: RunningHost) -> None:
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=20) as caller:
        caller.sendall(b"POST /api/half HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf")
    assert client.post("/api/half", content=b"whole").text == "whole"
    assert "ran with b'half'" not in host.output()
    assert "ran with b'whole'" in host.output()


def test_an_interim_answer_does_not_overtake_the_one_before(client: httpx.Client) -> None:
    expecting = (
        b"POST /api/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n"
        b"Connection: close\r\n\r\nx"
    )
    answer = asked(client, get("/api/signals/ES"), expecting)
    assert answer.index(b"200 OK") < answer.index(b"100 Continue") < answer.rindex(b"200 OK")


def test_the_access_log_has_a_line_a_request_without_the_query(
    client: httpx.Client, host: RunningHost
) -> None:
    client.post("/api/echo?code=hush", content=b"12345")
    client.get("/api/signals/a%0Ab")
    line = r"^\S+Z POST /api/echo 200 \d+\.\dms 5B id-1$"
    wait_for(lambda: re.search(line, host.output(), re.MULTILINE), "the access line")
    wait_for(
        lambda: re.search(r"^\S+Z GET /api/signals/a%0Ab 200 \S+ 9B -$", host.output(), re.MULTILINE), "it"
    )
    assert "hush" not in host.output()


def test_the_access_log_tells_how_long_an_answer_took_and_misses_none_at_the_stop(tmp_path: Path) -> None:
    directory = write_app(tmp_path / "app", APP)
    with running_host(directory, "http", "--port", "0") as host, host.client() as client:
        client.get("/api/slow")
    (took_ms,) = re.findall(r"^\S+Z GET /api/slow 200 (\d+\.\d)ms", host.output(), re.MULTILINE)
    assert 45 <= float(took_ms) < 5_000


def test_the_access_log_can_be_off(tmp_path: Path) -> None:
    directory = write_app(tmp_path / "app", APP)
    with running_host(directory, "http", "--port", "0", "--no-access-log") as host, host.client() as client:
        assert client.get("/api/text").status_code == 200
        assert client.get("/api/boom").status_code == 500
        wait_for(lambda: "Function boom failed" in host.output(), "the error log")
        assert "GET /api/text" not in host.output()
