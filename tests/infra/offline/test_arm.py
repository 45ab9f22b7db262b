"""The ARM template: what Pulumi would send, in an order that Azure accepts, without a secret."""

import json
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from infra.offline import arm
from infra.offline.arm import GROUP, body, template
from infra.offline.arm_expressions import Expressions
from infra.offline.arm_types import SUBSCRIPTION, SUBSCRIPTION_ID
from infra.offline.azure_answers import TENANT, computed_outputs
from infra.offline.recording import Recording, Resource
from tests.infra.recording import VARIANTS, recorded

TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<word>\w+)|(?P<sign>[().,]))")
# Properties of Azure's answers that differ from the SDK's outputs in their spelling.
SPELLED = {
    "ConnectionString": "connectionString",
    "InstrumentationKey": "instrumentationKey",
    "AppId": "appId",
}


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


class Azure:
    """Evaluates the functions that the template uses, with the answers of a recording."""

    def __init__(self, stack: Recording) -> None:
        self._stack = stack

    def value(self, item: Any) -> Any:
        if isinstance(item, dict):
            return {self.value(key): self.value(each) for key, each in item.items()}
        if isinstance(item, list):
            return [self.value(each) for each in item]
        if not isinstance(item, str) or not item.startswith("["):
            return item
        if item.startswith("[["):
            return item[1:]
        tokens = [found.group().strip() for found in TOKEN.finditer(item[1:-1])]
        assert item.endswith("]")
        result = self._expression(tokens)
        assert not tokens, item
        return result

    def _expression(self, tokens: list[str]) -> str:
        first = tokens.pop(0)
        if first.startswith("'"):
            return first[1:-1].replace("''", "'")
        arguments = []
        assert tokens.pop(0) == "("
        while tokens[0] != ")":
            arguments.append(self._expression(tokens))
            if tokens[0] == ",":
                tokens.pop(0)
        tokens.pop(0)
        place = ""
        if tokens and tokens[0] == ".":
            tokens.pop(0)
            place = tokens.pop(0)
        return self._call(first, arguments, place)

    def _call(self, function: str, arguments: list[str], place: str) -> str:
        if function == "concat":
            return "".join(arguments)
        if function == "parameters":
            return f"<secret {arguments[0]}>"
        if function == "subscription":
            return {"id": SUBSCRIPTION_ID, "subscriptionId": SUBSCRIPTION, "tenantId": TENANT}[place]
        assert function == "reference"
        made = self._stack.by_id(arguments[0])
        assert arguments[1] == arm.api_version(made.token)
        outputs = computed_outputs(made.type, made.id, made.own_name, made.inputs)
        return str(outputs[SPELLED.get(place, place)])


def in_order(stack: Recording) -> list[Resource]:
    """The resources of the template, in its order."""
    return sorted((each for each in stack.resources if each.type != GROUP), key=lambda each: each.id)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def test_it_says_what_pulumi_would_send(stack: Recording) -> None:
    """Evaluated by Azure, each body is the recorded one, which Azure's published types accept."""
    azure = Azure(stack)
    made = template(stack)["resources"]
    recordings = in_order(stack)
    assert len(made) == len(recordings)
    for shaped, resource in zip(made, recordings, strict=True):
        own = {key: item for key, item in shaped.items() if key not in {"dependsOn", "name", "scope", "type"}}
        own.pop("apiVersion")
        evaluated = json.dumps(azure.value(own), sort_keys=True)
        expected = json.dumps(body(resource), sort_keys=True)
        if resource.secrets:
            assert "<secret " in evaluated
            evaluated = re.sub(r'"<secret [^"]*>"', '"secret"', evaluated)
            for path in resource.secrets:
                expected = expected.replace(json.dumps(secret_at(resource.inputs, path)), '"secret"')
        assert evaluated == expected, resource.name
        # The names of the outer resources, then its own.
        assert shaped["name"].rsplit("/", 1)[-1] == resource.own_name
        assert shaped["name"].count("/") == shaped["type"].count("/") - 1


def secret_at(inputs: Any, path: str) -> Any:
    for key in re.findall(r"\w+", path):
        inputs = inputs[int(key)] if isinstance(inputs, list) else inputs[key]
    return inputs


def test_no_stand_in_and_no_secret_is_left(stack: Recording) -> None:
    text = json.dumps(template(stack))
    assert SUBSCRIPTION not in text
    assert TENANT not in text
    for output in ("identity_principal_id", "identity_client_id", "events_principal_id"):
        assert str(stack.outputs[output]) not in text, output
    assert stack.settings.api_key_pepper not in text
    receivers = stack.settings.notifications
    for secret in (*receivers.webhook_urls, *receivers.slack_urls, *receivers.pagerduty_keys):
        assert secret not in text


def test_secrets_are_parameters_without_a_value(stack: Recording) -> None:
    parameters = template(stack)["parameters"]
    assert "api-key-pepper-properties-value" in parameters
    assert all(each == {"type": "securestring"} for each in parameters.values())


def test_names_scopes_and_dependencies_are_known_before_anything_is_made(stack: Recording) -> None:
    """ARM refuses `reference` there."""
    for shaped in template(stack)["resources"]:
        early = [shaped["name"], shaped.get("scope", ""), *shaped["dependsOn"]]
        assert not any("reference(" in each for each in early), shaped["name"]
        keys = [text for text in texts(shaped) if text.startswith("[") and "reference(" in text]
        assert not set(keys) & set(_property_names(shaped))


def _property_names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _property_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _property_names(item)


def test_azure_can_make_the_resources_in_this_order(stack: Recording) -> None:
    """Whatever a resource names, by its id or as its parent, it also waits for."""
    azure = Azure(stack)
    recordings = {each.id.lower(): each for each in in_order(stack)}
    waits = {}
    for shaped, made in zip(template(stack)["resources"], recordings.values(), strict=True):
        waits[made.id.lower()] = {azure.value(each).lower() for each in shaped["dependsOn"]}
    order = list(TopologicalSorter(waits).static_order())
    assert set(order) == set(recordings), "a dependency is not in the template"
    for name, resource in recordings.items():
        before: set[str] = set()
        open_ends = set(waits[name])
        while open_ends:
            before |= open_ends
            open_ends = set().union(*(waits[each] for each in open_ends)) - before
        parent = name.rsplit("/", 2)[0]
        everything = "\n".join(texts(resource.inputs)).lower()
        named = {
            each
            for each in recordings
            # An id may begin with another one's.
            if each != name and re.search(rf"{re.escape(each)}(?![\w-])", everything)
        }
        needed = named | ({parent} & set(recordings))
        assert needed <= before, f"{resource.name} does not wait for {needed - before}"


def test_a_leading_bracket_of_a_text_is_escaped() -> None:
    expressions = Expressions(recorded("dev"), arm.api_version)
    assert expressions.late("[1, 2]") == "[[1, 2]"
    assert Azure(recorded("dev")).value("[[1, 2]") == "[1, 2]"
    assert expressions.late(f"it's {TENANT}") == "[concat('it''s ', subscription().tenantId)]"


def test_the_command_writes_the_file_and_names_the_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "dev.json"
    assert arm.main(["--stack", "dev", "--output", str(output)]) == 0
    written = json.loads(output.read_text())
    assert written == template(recorded("dev"))
    told = capsys.readouterr().out
    assert f"{len(written['resources'])} resources" in told
    assert "api-key-pepper-properties-value" in told


def test_without_a_file_it_prints_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    assert arm.main(["--stack", "dev"]) == 0
    assert json.loads(capsys.readouterr().out)["contentVersion"] == "1.0.0.0"


def test_wrong_arguments_get_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arm.main(["--stack", "staging"])
    assert "invalid choice: 'staging'" in capsys.readouterr().err
    assert arm.main(["--stack", "dev", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: Is a directory\n"
