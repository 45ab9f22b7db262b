"""The steps of docs/operations.md, Rotate the pepper, on a stack that keeps its data."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.places import ROOT
from tests.support.running import RunningStack
from tests.support.stacks import local_stack

FIRST, SECOND = "first-" + "p" * 40, "second-" + "q" * 40


def status(base_url: str, key: str) -> int:
    return httpx.get(
        f"{base_url}/api/license", headers={"Authorization": f"Bearer {key}"}, timeout=10
    ).status_code


def unrotated(state: Path, since: datetime, pepper: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-m", "operations.license", "unrotated", "--json", "--since", since.isoformat()],
        cwd=ROOT,
        env=os.environ | {"STATE": str(state), "API_KEY_PEPPER": pepper},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return {key["public_id"] for key in json.loads(run.stdout)}


def test_a_pepper_is_rotated_without_a_refused_request(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = directory / "state"
    with local_stack("up", state, API_KEY_PEPPER=FIRST) as first:
        document = first.await_ready()
        monkeypatch.setenv("API_KEY_PEPPER", FIRST)
        stack = RunningStack(state)
        used, unused = stack.new_key(), stack.new_key()
        assert status(document["base_url"], used["key"]) == 200
    rotated_at = datetime.now(UTC)
    with local_stack("up", state, API_KEY_PEPPER=SECOND, API_KEY_PEPPER_PREVIOUS=FIRST) as second:
        base_url = second.await_ready()["base_url"]
        assert status(base_url, used["key"]) == 200
        waiting = unrotated(state, rotated_at, SECOND)
        assert unused["public_id"] in waiting
        assert used["public_id"] not in waiting
        assert unrotated(state, rotated_at - timedelta(days=1), SECOND) == set()
    with local_stack("up", state, API_KEY_PEPPER=SECOND) as third:
        base_url = third.await_ready()["base_url"]
        assert status(base_url, used["key"]) == 200
        assert status(base_url, unused["key"]) == 401
