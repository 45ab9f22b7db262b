"""Gets a stack's configuration from the Pulumi CLI, or from the stack's file if there is no CLI."""

from pathlib import Path
from typing import cast

import pulumi
import yaml
from pulumi.runtime import config as pulumi_config

from infra.naming import PROJECT
from infra.settings.reader import StackConfig

INFRA = Path(__file__).resolve().parent.parent
STACKS = ("dev", "lean", "prod", "premium", "rehearse", "standby")
# Values of an example tenant, for uses that deploy nothing: preview, cost, tests.
EXAMPLE_TENANT = INFRA / "tenant.example.yaml"
_PREFIX = f"{PROJECT}:"


def running_stack() -> StackConfig:
    """The configuration of the stack that `pulumi up` or `pulumi preview` runs."""
    values = {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()}
    secrets = pulumi_config.get_config_secret_keys_env()
    return StackConfig(
        stack=pulumi.get_stack(),
        values={_own(key): str(value) for key, value in values.items() if key.startswith(_PREFIX)},
        secret_keys=frozenset(_own(key) for key in secrets if key.startswith(_PREFIX)),
    )


def stack_from_files(stack: str) -> StackConfig:
    """The configuration of `Pulumi.<stack>.yaml`, with the values of the example tenant."""
    values = _config_of(EXAMPLE_TENANT) | _examples_of(stack) | _config_of(INFRA / f"Pulumi.{stack}.yaml")
    secrets = frozenset(_own(key) for key, value in values.items() if isinstance(value, dict))
    return StackConfig(
        stack=stack,
        values={_own(key): _as_text(value) for key, value in values.items() if key.startswith(_PREFIX)},
        secret_keys=secrets,
    )


def _own(key: str) -> str:
    return key.removeprefix(_PREFIX)


def _config_of(path: Path) -> dict[str, object]:
    document = cast("dict[str, dict[str, object]]", yaml.safe_load(path.read_text()))
    return document["config"]


def _examples_of(stack: str) -> dict[str, object]:
    """Values of the example tenant for this stack alone."""
    document = cast("dict[str, dict[str, dict[str, object]]]", yaml.safe_load(EXAMPLE_TENANT.read_text()))
    return document["stacks"].get(stack, {})


def _as_text(value: object) -> str:
    """The value as the CLI would pass it; a secret is `{secure: ...}` in a file."""
    if isinstance(value, dict):
        return str(value["secure"])
    return str(value).lower() if isinstance(value, bool) else str(value)
