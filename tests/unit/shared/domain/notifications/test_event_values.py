"""Services report events with the values that the messages about them show."""

import ast
from collections.abc import Iterator

from shared.adapters.notifications.files import shipped_templates
from shared.domain.access.claims import LIFETIME
from shared.domain.notifications.messages import CLAIM, SHOWN
from tests.support.places import ROOT
from tests.unit.shared.domain.notifications.test_messages import KINDS, an_event


def reported() -> Iterator[tuple[str, str, set[str]]]:
    """Where the app makes an event, of which kind, and the names of its values, if the code spells them."""
    for path in sorted((ROOT / "shared").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "Event(" in text else ():
            if not (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event"
            ):
                continue
            given = {each.arg: each.value for each in node.keywords}
            kind, values = given.get("kind"), given.get("values", ast.Dict(keys=[], values=[]))
            if isinstance(kind, ast.Constant) and isinstance(values, ast.Dict):
                names = {str(key.value) for key in values.keys if isinstance(key, ast.Constant)}
                yield f"{path.relative_to(ROOT)}:{node.lineno}", str(kind.value), names


def test_an_event_has_every_value_that_its_messages_show() -> None:
    found = list(reported())
    assert {kind for _, kind, _ in found} > {"key_rotated", "session_taken_over", "claim_requested"}
    shown: dict[str, tuple[str, ...]] = {kind: SHOWN[kind] for kind in KINDS}
    lacking = {place: set(shown[kind]) - names for place, kind, names in found}
    assert {place: names for place, names in lacking.items() if names} == {}


def test_a_mail_says_how_long_its_claim_link_works() -> None:
    templates = shipped_templates()
    first = templates.render(an_event("license_created"), "mail", {CLAIM: "link"}).text
    lost = templates.render(an_event("claim_requested"), "mail", {CLAIM: "link"}).text
    assert f"for {LIFETIME['first_key'].days} days:" in first
    assert LIFETIME["lost_key"].days == 1
    assert "for one day:" in lost
