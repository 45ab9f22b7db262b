"""Puts az, gh, pulumi, curl and python on the PATH as real executables that ask one stand-in."""

import contextlib
import json
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from operations.process import PYTHON, Call
from tests.support.stand_in.answers import answer
from tests.support.stand_in.world import World

TOOLS = ("az", "gh", "pulumi", "curl", "python")
# Without `site`, such a process starts in some milliseconds.
_CLIENT = """#!{python} -IS
import json, os, socket, sys
words = [{tool!r}, *sys.argv[1:]]
given = {{"words": words, "stdin": sys.stdin.read(), "environment": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as client:
    client.connect({address!r})
    client.sendall(json.dumps(given).encode())
    client.shutdown(socket.SHUT_WR)
    status, output, error = json.load(client.makefile())
sys.stdout.write(output)
sys.stderr.write(error)
sys.exit(status)
"""


@contextlib.contextmanager
def executables(world: World, directory: Path) -> Iterator[Path]:
    """A directory for PATH with an executable of each tool; all act on `world` while the context is open."""
    commands = directory / "commands"
    commands.mkdir()
    address = str(directory / "socket")

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            given = json.load(self.rfile)
            tool, *rest = given["words"]
            words = (PYTHON if tool == "python" else tool, *rest)
            call = Call(words, given["stdin"], environment=given["environment"])
            self.wfile.write(json.dumps(list(answer(world, call))).encode())

    # One at a time, as the bootstrap asks.
    with socketserver.UnixStreamServer(address, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            for tool in TOOLS:
                write_client(commands / tool, tool, address)
            yield commands
        finally:
            server.shutdown()
            thread.join()


def write_client(path: Path, tool: str, address: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _CLIENT.format(python=sys.executable, tool=tool, address=address)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
