"""The running stack answers as its OpenAPI document says, to cases that follow the document and to others."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from functions.web.declaration import PUBLIC
from functions.web.routes import declared_routes
from shared.domain.access.licenses import ALL_SCOPES
from tests.support.app import functions
from tests.support.places import ROOT
from tests.support.running import RunningStack
from tests.support.stacks import local_stack

CASES_PER_ROUTE = 12
TIMEOUT_S = 240

CONFIGURATION = f"""
seed = 20260302
hooks = "tests.support.openapi_cases"
continue-on-failure = true

[generation]
database = "none"
max-examples = {CASES_PER_ROUTE}

[phases.coverage]
# The platform answers TRACE and CONNECT itself.
unexpected-methods = ["DELETE", "PUT", "PATCH"]

# It would follow links from one answer to the next request, and the document has hardly any.
[phases.stateful]
enabled = false

[checks]
# A schema cannot say all that makes an item right, such as prices that lie on the tick of its symbol.
positive_data_acceptance.enabled = false
# A batch over its limit is 413.
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429]

[[operations]]
include-name = "POST /ops/licenses/bulk"
# PATCH there is read as the change of a license that is named bulk.
checks.unsupported_method.enabled = false
"""
# Only Web PubSub and the payment vendors themselves can send their events. No generated text is the address
# of a destination, or the name of a plan.
ONLY_REFUSED = {
    *("POST /ws/events", "OPTIONS /ws/events", "POST /webhooks/stripe", "POST /webhooks/whop"),
    *("POST /destinations", "POST /ops/licenses"),
}
# What no generated text is: a claim link, the secret of a hook, or the id of something that is there.
NEVER_MET = re.compile(
    r"\{(token|secret|license_id|account_id|public_id|own_public_id|hook_id|destination_id|notification_id)\}"
)
A_PAYMENT_EVENT = """
insert into payment_events (provider, event_id, type, kind, created_at, payload, state)
values (
    'stripe', 'evt_1', 'charge.succeeded', 'linked', '2026-03-02Z', '{
        "provider": "stripe", "event_id": "evt_1", "type": "charge.succeeded", "kind": "linked",
        "at": "2026-03-02T00:00:00Z"
    }', 'applied'
)
"""
KEY = """
[auth.openapi.apiKey]
bearer = "${CONFORMANCE_KEY}"
"""


@pytest.fixture(scope="module")
def own_stack() -> Iterator[RunningStack]:
    """A stack of its own, because what is sent would disturb other tests."""
    with tempfile.TemporaryDirectory(prefix="signal-cloud-e2e-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o711)
        with local_stack("up", Path(made) / "state") as started:
            started.await_ready()
            stack = RunningStack(started.state)
            # A vendor sells nothing here, so the inbox gets its first event by hand.
            with psycopg.connect(stack.document["database_url"], autocommit=True) as connection:
                connection.execute(A_PAYMENT_EVENT)
            yield stack


def succeeded(exchanges: Path, names: list[str]) -> set[str]:
    """Those of the operations that at least one request went through."""
    found = set()
    for entry in json.loads(exchanges.read_text())["log"]["entries"]:
        path = urlsplit(entry["request"]["url"]).path.removeprefix("/api")
        for name in names:
            method, _, template = name.partition(" ")
            is_at = re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
            if is_at and entry["request"]["method"] == method and entry["response"]["status"] < 300:
                found.add(name)
    return found


def operations(scope: str) -> list[str]:
    assert functions()  # registers every route
    return [f"{route.method} /{route.path}" for route in declared_routes() if route.scope == scope]


@pytest.mark.parametrize("scope", [*ALL_SCOPES, PUBLIC])
def test_every_answer_is_documented_whatever_is_sent(
    own_stack: RunningStack, tmp_path: Path, scope: str
) -> None:
    """Each route gets a key of its own scope alone."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    file = tmp_path / "schemathesis.toml"
    file.write_text(CONFIGURATION if scope == PUBLIC else CONFIGURATION + KEY)
    if scope != PUBLIC:
        made = own_stack.new_key("--requests-per-minute", "100000", "--scopes", scope)
        environment["CONFORMANCE_KEY"] = made["key"]
    exchanges = tmp_path / "exchanges.har"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(file), "run", "--no-color"),
            f"--report-har-path={exchanges}",
            *(part for name in operations(scope) for part in ("--include-name", name)),
            f"{own_stack.base_url}/api/openapi.json",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"Operations:       {len(operations(scope))} selected" in run.stdout
    for phase in ("Coverage", "Fuzzing"):
        assert f"✅  {phase}" in run.stdout
    # A run that met nothing but refusals would prove little.
    unmet = set(operations(scope)) - succeeded(exchanges, operations(scope))
    assert {name for name in unmet if NEVER_MET.search(name) is None} <= ONLY_REFUSED


def test_every_route_belongs_to_a_run() -> None:
    named = [name for scope in (*ALL_SCOPES, PUBLIC) for name in operations(scope)]
    assert len(named) == len(set(named)) == len(declared_routes())
