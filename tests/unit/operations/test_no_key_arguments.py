"""No command takes a secret as an argument, because every user of a machine can read arguments."""

import ast
import re
import shutil
import subprocess
import sys

import pytest

from shared.domain.access.keys import new_key
from tests.support.places import ROOT

COMMANDS = ("operations", "local", "examples", "loadtests", "infra")
SECRET = re.compile(r"(^|[-_])(key|token|secret|password|pepper)$")


def options_of(source: str) -> list[str]:
    """The names of the arguments that a module declares for its command line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            found += [each.value for each in node.args if isinstance(each, ast.Constant)]
    return [name for name in found if isinstance(name, str)]


def test_only_the_license_command_has_an_argument_that_names_a_key() -> None:
    found = [
        (path.relative_to(ROOT).as_posix(), option)
        for package in COMMANDS
        for path in sorted((ROOT / package).rglob("*.py"))
        for option in options_of(path.read_text())
        if SECRET.search(option)
    ]
    # It refuses a whole key; tests/integration/test_license_cli.py shows that. The other one takes no value.
    assert sorted(found) == [("operations/license/parser.py", each) for each in ("--no-key", "key")]


def test_no_document_shows_a_key_as_an_argument() -> None:
    documents = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*.md"),
        *(ROOT / "infra").glob("*.md"),
        *(ROOT / ".github").rglob("*.yml"),
    ]
    assert documents
    argument = re.compile(r"(-H|--header|--value|--key|ARGS=)\s*\S*[^\n]*(sc_live_\.\.\.|Bearer \$SIGNAL)")
    for path in documents:
        for line in path.read_text().splitlines():
            assert not argument.search(line), f"{path.name}: {line}"


@pytest.mark.parametrize("command", ["limiter", "stampede"])
def test_the_load_tests_read_their_key_from_the_environment(command: str) -> None:
    keys = ["--keys", str(ROOT / "README.md")] if command == "stampede" else []
    done = subprocess.run(
        [sys.executable, "-m", f"loadtests.bench.{command}", *keys],
        cwd=ROOT,
        env={"PATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "_KEY is not set" in done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_way_that_the_readme_shows_keeps_the_key_out_of_the_arguments() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    calls = [block for block in blocks if "curl" in block]
    assert len(calls) == 7
    key = new_key("Ab12Cd")
    for call in calls:
        # `set -x` writes each command with the arguments that it is started with.
        done = subprocess.run(
            ["sh", "-c", f"set -x; {call}"],
            env={"PATH": "/usr/bin:/bin", "SIGNAL_CLOUD_URL": "http://127.0.0.1:9", "SIGNAL_CLOUD_KEY": key},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "+ curl" in done.stderr
        assert key not in done.stderr
