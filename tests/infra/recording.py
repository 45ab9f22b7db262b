"""Records stacks under Pulumi's mocks, each once per test run, for all tests."""

import functools
from typing import Any

from infra.offline.recording import Recording, record
from infra.settings.keys import read_settings
from infra.settings.model import Settings
from infra.settings.reader import StackConfig
from infra.settings.stacks import STACKS, stack_from_files

# The three stacks, and prod on the other kind of plan.
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    **{stack: (stack, {}) for stack in STACKS},
    "prod-flex": ("prod", {"plan": "flex"}),
}


def settings_of(stack: str, **changed: str) -> Settings:
    """Settings as the stack's file has them, with some keys changed."""
    config = stack_from_files(stack)
    return read_settings(StackConfig(config.stack, {**config.values, **changed}, config.secret_keys))


@functools.cache
def recorded(variant: str) -> Recording:
    """One of VARIANTS, built on first use. Tests must not change what they get."""
    stack, changed = VARIANTS[variant]
    return record(settings_of(stack, **changed))


def recorded_with(stack: str, **changed: str) -> Recording:
    """A new recording of a stack with some settings changed, for tests of one setting."""
    return record(settings_of(stack, **changed))


def input_at(resource: Any, path: str) -> Any:
    """The input at a dotted path, None where it is absent."""
    value: Any = resource.inputs
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
