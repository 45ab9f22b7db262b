"""Runs the stand-in in the foreground: python -m local.webpubsub."""

import argparse
import logging
import os
import sys
from pathlib import Path

import uvloop

from local.webpubsub.server import Options, serve
from local.webpubsub.tokens import MIN_KEY_BYTES
from local.webpubsub.upstream import EVENTS

KEY_VARIABLE = "WEBPUBSUB_ACCESS_KEY"
_DESCRIPTION = """\
Stand-in for Azure Web PubSub: the data-plane REST API (2024-12-01) and the client endpoint
with the subprotocols json.webpubsub.azure.v1 and json.reliable.webpubsub.azure.v1.
Connection string: Endpoint=http://HOST:PORT;AccessKey=KEY;Version=1.0;
"""
_EPILOG = f"""\
The access key has at least {MIN_KEY_BYTES} bytes. The stand-in reads it from {KEY_VARIABLE} or from
--access-key-file, never from the command line, which other users of the machine can read. The stand-in
is ready when GET or HEAD /api/health answers 200. On SIGTERM or SIGINT it closes all client
connections and exits with 0. All state is in memory.
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.webpubsub",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default %(default)s)")
    parser.add_argument(
        "--access-key-file",
        type=Path,
        metavar="FILE",
        help=f"file with the access key, instead of {KEY_VARIABLE}",
    )
    parser.add_argument(
        "--upstream-url",
        metavar="URL",
        help="URL of the handler that gets client events as CloudEvents; may contain {hub} and {event}",
    )
    parser.add_argument(
        "--upstream-events",
        metavar="LIST",
        default=",".join(EVENTS),
        help="events that the handler gets, separated by commas (default %(default)s)",
    )
    parser.add_argument("--log-level", default="WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> Options:
    """Returns checked options; raises ValueError for a wrong one and OSError for an unreadable key file."""
    if arguments.access_key_file is not None:
        key = arguments.access_key_file.read_text(encoding="utf-8").strip()
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip()
    if len(key.encode()) < MIN_KEY_BYTES:
        raise ValueError(f"the access key is missing or shorter than {MIN_KEY_BYTES} bytes; see --help")
    events = frozenset(name.strip() for name in arguments.upstream_events.split(",") if name.strip())
    if not events <= set(EVENTS):
        raise ValueError(f"--upstream-events may name {', '.join(EVENTS)}")
    if arguments.upstream_url is not None and not arguments.upstream_url.startswith(("http://", "https://")):
        raise ValueError("--upstream-url must begin with http:// or https://")
    return Options(
        host=arguments.host,
        port=arguments.port,
        access_key=key,
        upstream_url=arguments.upstream_url,
        upstream_events=events,
    )


def main() -> int:
    arguments = _arguments()
    logging.basicConfig(level=arguments.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        options = _options(arguments)
        uvloop.run(serve(options))
    except (ValueError, OSError) as error:
        print(f"python -m local.webpubsub: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
