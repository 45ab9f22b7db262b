"""Reads the words of a command as the tool would, and refuses options that the tool does not have."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tests.support.stand_in.world import Refused

_AZ = json.loads((Path(__file__).parent / "az_options.json").read_text(encoding="utf-8"))["commands"]
_AZ_ALWAYS = ["--output -o", "--only-show-errors", "--subscription", "--query"]
# From the manuals of gh 2.80 and of pulumi 3.226: the options that a command of theirs has, of those in use.
_GH: dict[str, tuple[str, ...]] = {
    "api": ("--method -X", "--input", "--field -F", "--jq -q"),
    "variable set": ("--body -b", "--env -e", "--repo -R"),
    "variable list": ("--env -e", "--repo -R", "--json"),
    "workflow run": ("--repo -R", "--ref -r", "--field -F"),
    "run list": ("--repo -R", "--workflow -w", "--event -e", "--limit -L", "--json", "--status -s"),
    "run view": ("--repo -R", "--json"),
    "--version": (),
}
_PULUMI: dict[str, tuple[str, ...]] = {
    "version": (),
    "login": ("--cloud-url -c", "--local -l"),
    "install": ("--cwd -C",),
    "stack ls": ("--json -j", "--cwd -C", "--all -a"),
    "stack init": ("--secrets-provider", "--cwd -C", "--stack -s"),
    "stack output": ("--json -j", "--cwd -C", "--stack -s"),
    "config": ("--json -j", "--cwd -C", "--stack -s", "--show-secrets"),
    "config set": ("--secret", "--plaintext", "--cwd -C", "--stack -s"),
    "up": ("--policy-pack", "--yes -y", "--non-interactive", "--cwd -C", "--stack -s", "--refresh -r"),
}
_FLAGS = {
    "--only-show-errors", "--json", "--yes", "--non-interactive", "--secret", "--all", "--local",
    "--include-inherited", "--include-groups", "--plaintext", "--show-secrets", "--refresh",
}  # fmt: skip


class Words:
    """A command's name, its options by each of their names, and its arguments."""

    def __init__(self, tool: str, name: str, options: Mapping[str, str], arguments: Sequence[str]) -> None:
        self.tool = tool
        self.name = name
        self.arguments = list(arguments)
        self._options = options

    def __getitem__(self, option: str) -> str:
        return self._options[option]

    def get(self, option: str, default: str = "") -> str:
        return self._options.get(option, default)

    def __contains__(self, option: object) -> bool:
        return option in self._options


def _misused(text: str) -> NoReturn:
    raise Refused(text, status=2)


def parse(words: Sequence[str]) -> Words:
    """Raises Refused, with the status of a misuse, for a command or an option that does not exist."""
    tool, rest = words[0], list(words[1:])
    if tool == "az":
        return _parsed(tool, rest, {name: (_names(each), each["required"]) for name, each in _AZ.items()})
    table = _GH if tool == "gh" else _PULUMI
    # `gh variable list --json name,value` takes a value; pulumi's --json is a flag.
    return _parsed(tool, rest, {name: (list(options), []) for name, options in table.items()})


def _names(command: Mapping[str, list[str]]) -> list[str]:
    return [*command["required"], *command["optional"], *_AZ_ALWAYS]


def _parsed(tool: str, rest: list[str], table: Mapping[str, tuple[list[str], list[str]]]) -> Words:
    count = next((n for n in range(len(rest), 0, -1) if " ".join(rest[:n]) in table), 0)
    if not count:
        _misused(f"{tool}: unknown command {' '.join(rest[:4])}")
    name = " ".join(rest[:count])
    known, required = table[name]
    aliases = {alias: entry.split() for entry in known for alias in entry.split()}
    flags = _FLAGS - ({"--json"} if tool == "gh" else set())
    options: dict[str, str] = {}
    arguments: list[str] = []
    left = rest[count:]
    while left:
        word = left.pop(0)
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            continue
        if word not in aliases:
            _misused(f"{tool} {name}: unrecognized arguments: {word}")
        value = "true" if word in flags else ""
        while word not in flags and left and (not left[0].startswith("--") or not value):
            if value and tool != "az":
                break
            value = f"{value} {left.pop(0)}".strip()
        options |= dict.fromkeys(aliases[word], value)
    for entry in required:
        if entry.split()[0] not in options:
            _misused(f"{tool} {name}: the following arguments are required: {entry}")
    if tool == "az" and arguments:
        _misused(f"az {name}: unrecognized arguments: {' '.join(arguments)}")
    return Words(tool, name, options, arguments)
