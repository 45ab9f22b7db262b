"""Holds the operations guide against the tree: procedures, commands, outputs, and runbooks of alerts."""

import re

from shared.domain.payments.stripe_events import STRIPE_TYPES
from tests.support.documents import DOCUMENTS, made, section
from tests.support.places import ROOT

OPERATIONS = DOCUMENTS["docs/operations.md"]
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", OPERATIONS, re.MULTILINE | re.DOTALL))
PROCEDURES = (
    "First deployment",
    "The machine for operations",
    "Rehearsal",
    "Roll back",
    "Restore to a point in time",
    "Export and restore licenses",
    "Rotate the pepper",
    "End a license or a key",
    "Payments",
    "Export or erase an account",
    "Scale for an event",
    "Import old trades",
    "Quotas and costly queries",
    "Region loss",
    "Make a stack again",
    "Drift",
    "Measure attacks",
)


def test_every_procedure_says_what_was_walked_through_and_what_was_not() -> None:
    assert tuple(SECTIONS) == (*PROCEDURES, "On call", "Runbooks")
    for name in PROCEDURES:
        assert "*Walked through:*" in SECTIONS[name], name
        assert "*Not:*" in SECTIONS[name], name


def test_the_guide_names_the_commands_and_files_of_operators() -> None:
    named = {target for target, _ in made(OPERATIONS)}
    assert {"migrate", "smoke", "drill", "license", "loadtest"} <= named
    assert len(re.findall(r"`(?:docs|tests|infra|\.github)/[\w./-]+\.\w+`", OPERATIONS)) > 5


def test_outputs_and_configuration_exist() -> None:
    outputs = (ROOT / "infra/program.py").read_text(encoding="utf-8")
    for name in set(re.findall(r"\$\(output (\w+)\)", OPERATIONS)):
        assert f'"{name}"' in outputs, name
    settings = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "infra/settings").glob("*keys.py")
    )
    for name in set(re.findall(r"pulumi config (?:set|get|rm)(?: --secret)? (\w+)", OPERATIONS)):
        assert f'"{name}"' in settings, name


def test_the_guide_lists_the_events_of_stripe_that_the_app_reads() -> None:
    (listed,) = re.findall(r"webhooks/stripe`(.*?)\. Others", SECTIONS["Payments"], re.DOTALL)
    named: list[str] = []
    for name in re.findall(r"`([\w.]+)`", listed):
        # `.updated` stands for the event before it with another end.
        named.append(named[-1].rpartition(".")[0] + name if name.startswith(".") else name)
    assert sorted(named) == sorted(STRIPE_TYPES)


def test_every_alert_has_its_runbook_and_no_runbook_is_left_over() -> None:
    described = section(DOCUMENTS["infra/README.md"], "Alerts")
    alerts = set(re.findall(r"^\| `([a-z0-9-]+)` \|", described, re.MULTILINE))
    runbooks = re.findall(r"^### ([a-z0-9-]+)$", SECTIONS["Runbooks"], re.MULTILINE)
    assert sorted(alerts) == sorted(runbooks)
    assert {path.stem for path in (ROOT / "infra/alerts").glob("*.kql")} <= alerts


def test_a_runbook_says_something() -> None:
    for name, text in re.findall(
        r"^### (\S+)\n(.*?)(?=^### |\Z)", SECTIONS["Runbooks"], re.MULTILINE | re.DOTALL
    ):
        assert len(text.split()) >= 10, name
        for other in re.findall(r"(?:[Ss]ee|[Aa]s(?: in)?) `([a-z-]+)`", text):
            assert f"### {other}\n" in OPERATIONS, f"{name} points to {other}"
