"""Reads every document of the tree, and finds sections, tables and code in them."""

import re
from collections.abc import Iterator

from tests.support.places import ROOT

ROOMS = "docs|examples|functions|infra|loadtests|local|operations|shared|tests"
# Directories that hold no documents of ours.
FOREIGN = {".venv", ".local", "node_modules", ".pytest_cache", ".git"}
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.rglob("*.md"))
    if not FOREIGN & set(path.relative_to(ROOT).parts)
}


def section(text: str, heading: str) -> str:
    """The text below a heading of the second level, up to the next one."""
    found = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, heading
    return str(found[0])


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of the tables in `text`, without their headings."""
    for line in re.findall(r"^\|(.*)\|$", text, re.MULTILINE):
        cells = [cell.strip() for cell in line.split("|")]
        if not set("".join(cells)) <= set("-: "):
            yield cells


def shell_blocks(text: str) -> list[str]:
    found = re.findall(r"^( *)```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def code_of(text: str) -> list[str]:
    """Every shell block and every span of code."""
    return [*shell_blocks(text), *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))]


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def made(text: str) -> list[tuple[str, str]]:
    """Each make target that code in `text` names, with the rest of its line."""
    return [
        (target, rest)
        for code in code_of(text)
        for target, rest in re.findall(r"(?:^|[\s`])make (?:--silent )?([a-z][a-z-]*)([^\n#]*)", code)
    ]
