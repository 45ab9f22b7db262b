"""Runs checkov's Azure checks on every stack's template; infra/offline/checkov.toml has the exceptions."""

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.offline.arm import template
from local.places import ROOT
from local.setup.tools import CHECKOV, ensure_tool
from tests.infra.recording import VARIANTS, recorded

# Name of a template with a fault.
WEAK = "weak"
# Looks for secrets in the machine's cloud-init by patterns that take minutes over 6 KB of base64, and take a
# web address for a secret. components/test_operations_machine.py shows that it is the committed file, which
# holds no value of a stack.
_NOT_CHECKED = ("--skip-check", "CKV_AZURE_45")


@dataclass(frozen=True, slots=True)
class Failure:
    stack: str
    check: str
    type: str
    resource: str


@dataclass(frozen=True, slots=True)
class Report:
    passed: int
    failures: tuple[Failure, ...]


def _run(directory: Path) -> Report:
    """checkov on every template in a directory; its own findings make it exit with 1."""
    python = ensure_tool("checkov", CHECKOV)
    command = [str(python), "-m", "checkov.main", "--directory", str(directory), "--framework", "arm"]
    ran = subprocess.run(
        [*command, *_NOT_CHECKED, "--compact", "--quiet", "--skip-download", "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LOG_LEVEL": "ERROR"},
    )
    answer = json.loads(ran.stdout)
    return Report(
        passed=answer["summary"]["passed"],
        failures=tuple(_failure(failed) for failed in answer["results"]["failed_checks"]),
    )


def _failure(failed: dict[str, Any]) -> Failure:
    variant = Path(failed["file_path"]).stem
    stack = WEAK if variant == WEAK else VARIANTS[variant][0]
    type_, _, resource = failed["resource"].removeprefix("Microsoft.").partition(".")
    return Failure(stack, failed["check_id"], f"Microsoft.{type_}", resource)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    directory = tmp_path_factory.mktemp("templates")
    for variant in VARIANTS:
        (directory / f"{variant}.json").write_text(json.dumps(template(recorded(variant))))
    (directory / f"{WEAK}.json").write_text(json.dumps(_weakened(template(recorded("prod")))))
    return _run(directory)


def _weakened(whole: dict[str, Any]) -> dict[str, Any]:
    """The template's first storage account alone, which takes TLS 1.0."""
    account = next(r for r in whole["resources"] if r["type"] == "Microsoft.Storage/storageAccounts")
    weak = {**account, "properties": {**account["properties"], "minimumTlsVersion": "TLS1_0"}}
    return {**whole, "resources": [weak]}


def skips() -> Iterator[tuple[str, str, str]]:
    """Stack, check and type of everything in the table; each line has a reason."""
    for line in tomllib.loads((ROOT / "infra" / "offline" / "checkov.toml").read_text())["skip"]:
        assert len(line["reason"]) > 20
        for stack in line["stacks"]:
            for type_ in line["types"]:
                yield stack, line["check"], type_


def test_nothing_fails_that_has_no_reason(report: Report) -> None:
    skipped = set(skips())
    unexplained = [
        f for f in report.failures if f.stack != WEAK and (f.stack, f.check, f.type) not in skipped
    ]
    assert not unexplained
    assert report.passed > 150


def test_every_skip_is_needed(report: Report) -> None:
    failed = {(failure.stack, failure.check, failure.type) for failure in report.failures}
    assert not set(skips()) - failed


def test_checkov_finds_a_fault(report: Report) -> None:
    """The checks read our templates."""
    assert "CKV_AZURE_44" in {failure.check for failure in report.failures if failure.stack == WEAK}
