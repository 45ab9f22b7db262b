"""Reads sections of the README of infra."""

import re

from tests.support.places import ROOT


def section(title: str) -> str:
    """Text of one section of the README of infra."""
    parts = re.split(r"^## ", (ROOT / "infra" / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (found,) = (part for part in parts if part.startswith(title + "\n"))
    return found
