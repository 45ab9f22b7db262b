"""Runs Locust without its web page, in several processes if wanted (`make loadtest`).

    HOST=https://... KEYS=load_keys.txt SCENARIO=mixed USERS=200 python -m loadtests.locust.run

It reads the environment: HOST, KEYS, SCENARIO (bots, opening_bell, mixed), USERS, SPAWN_RATE (users a
second), DURATION_S, WORKERS (processes on this machine) and LOCUST_ARGS (anything else, such as --master).
It ends with status 1 if any request failed.
"""

# ruff: noqa: T201 - a terminal reads it

import csv
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_USERS = {"bots": 100, "opening_bell": 1_000, "mixed": 200}


class BadOption(Exception):
    """A variable that cannot be used; the text names it."""


def arguments(environment: Mapping[str, str]) -> list[str]:
    """Returns Locust's command line; raises BadOption."""
    host = environment.get("HOST", "").rstrip("/")
    if not host.startswith(("http://", "https://")):
        raise BadOption("HOST must be the address of a deployment, such as http://127.0.0.1:7071")
    scenario = environment.get("SCENARIO") or "bots"
    if scenario not in _USERS:
        raise BadOption(f"SCENARIO={scenario} must be one of {', '.join(_USERS)}")
    users = _whole(environment, "USERS", _USERS[scenario])
    command = ["--locustfile", str(LOCUSTFILE), "--host", host, "--headless", "--only-summary"]
    command += ["--users", str(users), "--spawn-rate", str(_whole(environment, "SPAWN_RATE", users))]
    command += ["--run-time", f"{_whole(environment, 'DURATION_S', 60)}s", "--exit-code-on-error", "1"]
    workers = _whole(environment, "WORKERS", 1)
    if workers > 1:
        command += ["--processes", str(workers)]
    return command + shlex.split(environment.get("LOCUST_ARGS", ""))


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    raw = environment.get(name, "").strip() or str(default)
    if not (raw.isascii() and raw.isdigit() and int(raw) > 0):
        raise BadOption(f"{name}={raw} must be a whole number from 1")
    return int(raw)


@dataclass(frozen=True)
class Scenario:
    """What all requests of one scenario came to; latencies in ms as Locust rounds them."""

    name: str
    users: int
    requests: int
    failures: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    reasons: list[str]  # one text for each kind of failure, the most frequent first


def measure(scenario: str, users: int, seconds: int, *, host: str, keys: Path) -> Scenario:
    """Runs one scenario in a process of its own; raises RuntimeError if Locust itself fails."""
    with tempfile.TemporaryDirectory(prefix="signal-cloud-locust-") as name:
        figures = Path(name) / "stats"
        files = shlex.quote(str(figures))
        environment = {
            "HOST": host,
            "SCENARIO": scenario,
            "USERS": str(users),
            "DURATION_S": str(seconds),
            "LOCUST_ARGS": f"--json-file {files} --csv {files} --loglevel ERROR",
        }
        command = [sys.executable, "-m", "locust", *arguments(environment)]
        done = subprocess.run(  # noqa: S603 - our own command line
            command,
            env={**os.environ, **environment, "KEYS": str(keys), "BELL_AFTER_S": "5"},
            capture_output=True,
            timeout=seconds + 60,
            check=False,
        )
        written = figures.with_suffix(".json")
        if not written.exists():
            raise RuntimeError(f"Locust ended with {done.returncode}: {done.stderr.decode()[-2_000:]}")
        with figures.with_name("stats_failures.csv").open(encoding="utf-8", newline="") as file:
            failed = sorted(csv.DictReader(file), key=lambda row: -int(row["Occurrences"]))
        reasons = [f"{row['Occurrences']} times {row['Name']}: {row['Error']}" for row in failed]
        return _summed(scenario, users, json.loads(written.read_text(encoding="utf-8")), reasons)


def _summed(name: str, users: int, entries: list[dict[str, object]], reasons: list[str]) -> Scenario:
    times: dict[float, int] = {}
    failures = 0
    for entry in entries:
        failures += int(str(entry["num_failures"]))
        counts = entry["response_times"]
        assert isinstance(counts, dict)
        for time_ms, count in counts.items():
            times[float(time_ms)] = times.get(float(time_ms), 0) + int(count)
    total = sum(times.values())

    def at(share: float) -> float:
        passed = 0
        for time_ms in sorted(times):
            passed += times[time_ms]
            if passed >= share * total:
                return time_ms
        return float("nan")

    return Scenario(name, users, total, failures, at(0.5), at(0.95), at(0.99), reasons)


def main() -> None:
    try:
        command = arguments(os.environ)
    except BadOption as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    # Locust replaces this process, so that the caller's signals reach it and its exit status the caller.
    os.execv(sys.executable, [sys.executable, "-m", "locust", *command])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
