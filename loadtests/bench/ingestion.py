"""Stands in for Application Insights' ingestion endpoint and keeps what Azure's exporter sends."""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    """One envelope, and when it arrived (monotonic seconds)."""

    at_s: float
    envelope: dict[str, Any]


class Ingestion:
    """What the endpoint has received so far; an app with this `connection_string` sends to it."""

    def __init__(self, port: int) -> None:
        self.received: list[Received] = []
        self.connection_string = (
            "InstrumentationKey=00000000-0000-0000-0000-000000000000;"
            f"IngestionEndpoint=http://127.0.0.1:{port}/;LiveEndpoint=http://127.0.0.1:{port}/"
        )


@contextmanager
def ingestion() -> Iterator[Ingestion]:
    """Serves the endpoint in a thread until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            sent = json.loads(body)
            endpoint.received.extend(Received(time.monotonic(), envelope) for envelope in sent)
            answer = json.dumps(
                {"itemsReceived": len(sent), "itemsAccepted": len(sent), "errors": []}
            ).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Ingestion(server.server_address[1])
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
