"""Replaces the stand-ins of a recording by ARM expressions for the values that only Azure knows.

A recorded value may hold a subscription, a tenant, or what Azure answers when it has made a resource, such as
a principal's id. The template must ask Azure for these.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from infra.offline.arm_types import SUBSCRIPTION, SUBSCRIPTION_ID
from infra.offline.azure_answers import TENANT, computed_outputs
from infra.offline.recording import Recording, Resource

# Answers that are no function of the names alone: type, output in the SDK, and its place in Azure's answer.
_ANSWERED: Mapping[str, Mapping[str, str]] = {
    "Microsoft.Cdn/profiles": {"frontDoorId": "frontDoorId"},
    "Microsoft.Cdn/profiles/afdEndpoints": {"hostName": "hostName"},
    "Microsoft.Insights/components": {
        "connectionString": "ConnectionString",
        "instrumentationKey": "InstrumentationKey",
        "appId": "AppId",
    },
    "Microsoft.ManagedIdentity/userAssignedIdentities": {
        "clientId": "clientId",
        "principalId": "principalId",
    },
    "Microsoft.OperationalInsights/workspaces": {"customerId": "customerId"},
}
_SUBSCRIPTION_ALONE: Mapping[str, str] = {
    SUBSCRIPTION_ID: "subscription().id",
    SUBSCRIPTION: "subscription().subscriptionId",
    TENANT: "subscription().tenantId",
}


class Expressions:
    """Writes the texts of one recording as ARM takes them."""

    def __init__(self, recording: Recording, api_version: Callable[[str], str]) -> None:
        self._early = _Substitution(_SUBSCRIPTION_ALONE)
        answers = {
            value: f"reference({self._early.argument(resource.id)}, '{api_version(resource.token)}').{place}"
            for resource in recording.resources
            for value, place in _answers(resource)
        }
        self._late = _Substitution({**_SUBSCRIPTION_ALONE, **answers})

    def early(self, text: str) -> str:
        """A text that ARM reads before it makes anything: a name, a scope, a dependency."""
        return self._early.text(text)

    def late(self, value: Any) -> Any:
        """A part of a body, which may also hold what Azure has answered for other resources."""
        if isinstance(value, str):
            return self._late.text(value)
        if isinstance(value, dict):
            # ARM reads the name of a property early.
            return {self.early(key): self.late(item) for key, item in value.items()}
        return [self.late(item) for item in value] if isinstance(value, list) else value


class _Substitution:
    """Replaces each key of `known` within a text by its expression; the longest key has priority."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known
        keys = sorted(known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, keys)))

    def text(self, text: str) -> str:
        """The text as ARM takes it: an expression if it holds a key, otherwise itself."""
        if self._pattern.search(text):
            return f"[{self.argument(text)}]"
        # ARM would take a leading bracket for an expression.
        return f"[{text}" if text.startswith("[") else text

    def argument(self, text: str) -> str:
        """The text as an argument of a function."""
        parts, end = [], 0
        for found in self._pattern.finditer(text):
            parts += [_quoted(text[end : found.start()]), self._known[found.group()]]
            end = found.end()
        parts = [part for part in (*parts, _quoted(text[end:])) if part != "''"]
        return parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _answers(resource: Resource) -> list[tuple[str, str]]:
    places = _ANSWERED.get(resource.type, {})
    outputs = computed_outputs(resource.type, resource.id, resource.own_name, resource.inputs)
    return [(str(outputs[output]), place) for output, place in places.items()]
