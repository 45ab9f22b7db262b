"""docs/operations.md names what exists: commands, options, settings, outputs, files, and every alert."""

import re
import subprocess

import pytest

from tests.support.workflows import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS = [
    re.sub(r"^ {3}", "", block, flags=re.MULTILINE)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
]
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
PROCEDURES = (
    "First deployment",
    "Roll back",
    "Restore to a point in time",
    "Rotate the pepper",
    "Scale for an event",
    "Region loss",
    "Drift",
)


def test_every_procedure_says_what_was_walked_through_and_what_was_not() -> None:
    assert tuple(SECTIONS) == (*PROCEDURES, "On call", "Runbooks")
    for name in PROCEDURES:
        assert "*Walked through:*" in SECTIONS[name], name
        assert "*Not:*" in SECTIONS[name], name


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0][:40])
def test_commands_are_valid_shell(block: str) -> None:
    # <placeholders> would be redirections.
    run = subprocess.run(
        ["bash", "-n"], input=re.sub(r"<[a-z -]+>", "x", block), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_make_targets_and_their_options_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    modules = {
        "migrate": "operations/migrate.py",
        "drill": "operations/restore_drill.py",
        "license": "operations/license.py",
    }
    named = re.findall(r"^\s*make (?:--silent )?([a-z]+)(?: ARGS=\"(.*)\")?", "\n".join(BLOCKS), re.MULTILINE)
    named += [(target, "") for target in re.findall(r"`make ([a-z]+)", TEXT)]
    assert {"migrate", "smoke", "drill", "license", "loadtest"} <= {target for target, _ in named}
    for target, arguments in named:
        assert re.search(rf"^{target}: ##", makefile, re.MULTILINE), target
        for option in re.findall(r"--[a-z-]+", arguments):
            assert f'"{option}"' in (ROOT / modules[target]).read_text(encoding="utf-8"), f"{target} {option}"


def test_files_that_it_names_exist() -> None:
    named = set(re.findall(r"`((?:docs|tests|infra|\.github)/[\w./-]+\.\w+)`", TEXT))
    assert len(named) > 5
    own = {name for name in named if "<" not in name and not name.startswith("infra/Pulumi.")}
    for name in own - (
        {name for name in own if name.startswith("infra/")} if not (ROOT / "infra").is_dir() else set()
    ):
        assert (ROOT / name).exists(), name


def test_outputs_and_configuration_exist() -> None:
    outputs = (ROOT / "infra/program.py").read_text(encoding="utf-8")
    for name in set(re.findall(r"\$\(output (\w+)\)", TEXT)):
        assert f'"{name}"' in outputs, name
    settings = (ROOT / "infra/settings/keys.py").read_text(encoding="utf-8")
    for name in set(re.findall(r"pulumi config (?:set|get|rm)(?: --secret)? (\w+)", TEXT)):
        assert f'"{name}"' in settings, name


def test_every_alert_has_its_runbook_and_no_runbook_is_left_over() -> None:
    described = (
        (ROOT / "infra/README.md").read_text(encoding="utf-8").split("\n## Alerts\n")[1].split("\n## ")[0]
    )
    alerts = set(re.findall(r"^\| `([a-z0-9-]+)` \|", described, re.MULTILINE))
    runbooks = re.findall(r"^### ([a-z0-9-]+)$", SECTIONS["Runbooks"], re.MULTILINE)
    assert sorted(alerts) == sorted(runbooks)


def test_a_runbook_says_something() -> None:
    for name, text in re.findall(
        r"^### (\S+)\n(.*?)(?=^### |\Z)", SECTIONS["Runbooks"], re.MULTILINE | re.DOTALL
    ):
        assert len(text.split()) >= 10, name
        for other in re.findall(r"[Ss]ee `([a-z-]+)`|[Aa]s `([a-z-]+)`", text):
            assert f"### {''.join(other)}\n" in TEXT, f"{name} points to {other}"
