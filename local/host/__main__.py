"""`python -m local.host http` and `python -m local.host timers`; run in the app's directory."""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from local.host.configuration import (
    HostConfiguration,
    HostError,
    load_local_settings,
    read_body_limit,
    read_host_configuration,
)
from local.host.indexing import Index, load_index
from local.host.supervisor import EXIT_FAULTY_APP, ignore_interrupts, reserve_port, supervise

logger = logging.getLogger("local.host")

_DESCRIPTION = """\
Runs the function app of the current directory without Core Tools: its HTTP functions in worker
processes that share a port, or its timers in one process. A worker that dies is replaced; SIGTERM or
Ctrl-C answers what is in flight and stops everything. Settings come from the environment, then from
Values in local.settings.json; the route prefix and the function timeout from host.json.
Exit code 2: the app cannot be imported or indexed, or the port is taken."""


def _worker_count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 64:
        raise argparse.ArgumentTypeError("must be from 1 to 64")
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.host",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="http|timers")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--app",
        default="function_app:app",
        metavar="MODULE:NAME",
        help="the FunctionApp (default: %(default)s)",
    )
    # Set by the supervisor on the processes it starts; counts from 1.
    shared.add_argument("--worker", type=int, default=0, help=argparse.SUPPRESS)
    http = commands.add_parser(
        "http",
        parents=[shared],
        help="serve the HTTP functions",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    http.add_argument("--host", default="127.0.0.1", help="address to listen on")
    http.add_argument("--port", type=int, default=7071, help="port; 0 takes a free one and prints it")
    http.add_argument(
        "--workers",
        type=_worker_count,
        default=os.environ.get("WORKERS") or "1",
        help="processes; the setting WORKERS without it",
    )
    http.add_argument(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="one line a request on standard output",
    )
    commands.add_parser("timers", parents=[shared], help="run the timer functions, one run at a time each")
    return parser


def _configure_logging() -> None:
    logging.Formatter.converter = time.gmtime
    level = os.environ.get("LOG_LEVEL", "INFO").upper()
    logging.basicConfig(
        level=level if level in logging.getLevelNamesMapping() else "INFO",
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    # The SDKs log every request with its headers at INFO.
    logging.getLogger("azure").setLevel(logging.WARNING)


def _announce(index: Index, options: argparse.Namespace) -> None:
    if options.command == "http":
        for route in index.http_routes:
            methods = ",".join(sorted(route.methods))
            logger.info("%s: [%s] /%s", route.name, methods, route.template.text)
    else:
        for timer in index.timers:
            logger.info("%s: timer %s", timer.function.name, timer.expression)


async def _work(options: argparse.Namespace, configuration: HostConfiguration) -> int:
    """A worker's life; the app is imported inside the running loop, as the platform's worker does."""
    from local.host.http import serve
    from local.host.invoking import thread_pool
    from local.host.timers import run_timers

    index = load_index(options.app, Path.cwd(), configuration)
    if options.worker == 1:
        _announce(index, options)
    pool = thread_pool()
    if options.command == "timers":
        return await run_timers(index.timers, configuration.function_timeout, pool)
    await serve(
        index.router,
        pool,
        (options.host, options.port),
        access_log=options.access_log,
        max_body_bytes=read_body_limit(os.environ),
    )
    return 0


def _leave(code: int) -> NoReturn:
    """Ends a worker at once, as the platform ends one.

    No shutdown hook exists there, so nothing may rely on cleanup; and without this, a thread that a
    sync function still holds would keep the process alive.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run_worker(options: argparse.Namespace) -> NoReturn:
    import uvloop

    async def work() -> NoReturn:
        try:
            load_local_settings(Path.cwd(), os.environ)
            _leave(await _work(options, read_host_configuration(Path.cwd())))
        except HostError as error:
            logger.error("%s", error)  # noqa: TRY400 - the message is for the app's author, the traceback ours
            _leave(EXIT_FAULTY_APP)

    uvloop.run(work())
    raise AssertionError("a worker leaves from inside its loop")


def _run_supervisor(arguments: Sequence[str], options: argparse.Namespace) -> int:
    command = [sys.executable, "-m", "local.host", *arguments]
    if options.command == "timers":
        return asyncio.run(supervise([[*command, "--worker", "1"]]))
    try:
        held = reserve_port(options.host, options.port)
    except OSError as error:
        reason = error.strerror or str(error)
        logger.error("Cannot listen on %s port %d: %s", options.host, options.port, reason)  # noqa: TRY400 - says it all
        return EXIT_FAULTY_APP
    with held:
        host, port = held.getsockname()[:2]
        logger.info(
            "Serving on http://%s:%d with %d worker(s)",
            f"[{host}]" if ":" in host else host,
            port,
            options.workers,
        )
        placed = [*command, "--host", host, "--port", str(port)]
        workers = [[*placed, "--worker", str(number)] for number in range(1, options.workers + 1)]
        return asyncio.run(supervise(workers))


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    _configure_logging()
    if options.worker:
        ignore_interrupts()
        _run_worker(options)
    return _run_supervisor(arguments, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
