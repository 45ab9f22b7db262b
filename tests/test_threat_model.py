"""Holds docs/security.md against the tests: each protection names tests that exist."""

import re

from tests.support.places import ROOT

MODEL = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def test_each_named_test_exists() -> None:
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    assert set(re.findall(r"`(test_\w+)`", MODEL)) <= written


def test_each_attack_names_a_test() -> None:
    attacks = [line for line in MODEL.splitlines() if line.startswith("| ") and line.count("|") == 4]
    rows = [line for line in attacks if not line.startswith("| attack |")]
    assert len(rows) > 20
    assert all("`test_" in line for line in rows)
