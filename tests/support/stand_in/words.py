"""Reads the words of a command as the tool would, and refuses options that the tool does not have."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

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
    "config get": ("--json -j", "--cwd -C", "--stack -s"),
    "config set": ("--secret", "--plaintext", "--cwd -C", "--stack -s"),
    "up": ("--policy-pack", "--yes -y", "--non-interactive", "--cwd -C", "--stack -s", "--refresh -r"),
}
_FLAGS = {
    "--only-show-errors", "--json", "--yes", "--non-interactive", "--secret", "--all", "--local",
    "--include-inherited", "--include-groups", "--plaintext", "--show-secrets", "--refresh",
}  # fmt: skip


class _Command(NamedTuple):
    """What a command accepts: all names of each option by each of them, and the options that it must have."""

    aliases: Mapping[str, Sequence[str]]
    required: Sequence[str]


def _command(required: Sequence[str], optional: Sequence[str]) -> _Command:
    entries = [entry.split() for entry in (*required, *optional)]
    aliases = {alias: entry for entry in entries for alias in entry}
    return _Command(aliases, [entry.split()[0] for entry in required])


_TABLES: Mapping[str, Mapping[str, _Command]] = {
    "az": {name: _command(each["required"], [*each["optional"], *_AZ_ALWAYS]) for name, each in _AZ.items()},
    "gh": {name: _command([], options) for name, options in _GH.items()},
    "pulumi": {name: _command([], options) for name, options in _PULUMI.items()},
}


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
    table = _TABLES[tool]
    count = next((n for n in range(len(rest), 0, -1) if " ".join(rest[:n]) in table), 0)
    if not count:
        _misused(f"{tool}: unknown command {' '.join(rest[:4])}")
    name = " ".join(rest[:count])
    aliases, required = table[name]
    # `gh variable list --json name,value` takes a value; pulumi's --json is a flag.
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
    for option in required:
        if option not in options:
            _misused(f"{tool} {name}: the following arguments are required: {option}")
    if tool == "az" and arguments:
        _misused(f"az {name}: unrecognized arguments: {' '.join(arguments)}")
    return Words(tool, name, options, arguments)
