"""A local passive stack, with a real read replica: what a deployment into the second region finds there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.failover.regions import LocalRegion, two_regions
from shared.version import VERSION
from tests.support.places import ROOT


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalRegion, LocalRegion]]:
    with two_regions(Path(tmp_path_factory.mktemp("regions"))) as pair:
        yield pair


def smoke(region: LocalRegion, key: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operations.smoke", region.url, "--expect-version", VERSION, *options],
        cwd=ROOT,
        env=os.environ | {"SIGNAL_CLOUD_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def failed(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.split()[1] for line in run.stdout.splitlines() if line.startswith("FAILED")]


def test_a_passive_region_does_what_it_can(regions: tuple[LocalRegion, LocalRegion]) -> None:
    _, passive = regions
    run = smoke(passive, passive.document["keys"]["bot"], "--passive")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "a write is refused until the promotion" in run.stdout


def test_each_region_fails_the_test_of_the_other_role(regions: tuple[LocalRegion, LocalRegion]) -> None:
    active, passive = regions
    key = active.document["keys"]["bot"]
    assert failed(smoke(passive, key)) == ["trade"]
    run = smoke(active, key, "--passive")
    assert failed(run) == ["passive"]
    assert "so the region is active" in run.stdout
