"""Runs the program against Pulumi's mocks and records what `pulumi up` would make, without Azure.

Preview, cost estimate, ARM export and tests read the recording.
"""

import asyncio
import contextlib
import contextvars
import dataclasses
import gc
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import pulumi
from google.protobuf import json_format
from pulumi.runtime import mocks, rpc
from pulumi.runtime.settings import set_root_resource
from pulumi.runtime.stack import run_in_stack

from infra.naming import PROJECT
from infra.offline.arm_types import SUBSCRIPTION, arm_type
from infra.offline.azure_answers import TENANT, TODAY, callback_url, computed_outputs, guid
from infra.program import build
from infra.settings.keys import read_settings
from infra.settings.model import Settings
from infra.settings.stacks import stack_from_files

# The name of the component of resources that no component makes.
PROGRAM = "program"
_STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True, slots=True)
class Resource:
    """One registered resource. `inputs` are those that the provider gets, with secrets in plain text.

    `secrets` are the paths of secrets within `inputs`, such as `properties.value`. `parent` is a URN, and so
    is `deleted_with`: the resource whose deletion takes this one with it, or empty.
    `depends_on` holds the URNs of resources that must exist first, by an option or through an input, and
    `depends_through` those that each input depends on.
    """

    urn: str
    token: str
    name: str
    inputs: Mapping[str, Any]
    secrets: frozenset[str]
    id: str
    parent: str
    depends_on: frozenset[str]
    protect: bool
    retain_on_delete: bool
    deleted_with: str
    ignore_changes: tuple[str, ...]
    depends_through: Mapping[str, frozenset[str]]

    @property
    def is_component(self) -> bool:
        return not self.token.startswith("azure-native:")

    @property
    def type(self) -> str:
        """ARM type, such as `Microsoft.Web/sites`."""
        return arm_type(self.token, self.inputs).type

    @property
    def own_name(self) -> str:
        """Its name in Azure, without the names of its parents."""
        return self.id.rsplit("/", 1)[-1]

    def with_inputs(self, inputs: Mapping[str, Any]) -> "Resource":
        return dataclasses.replace(self, inputs=inputs)


@dataclass(frozen=True, slots=True)
class Recording:
    """A stack: settings, resources in the order of registration, outputs with secrets in plain text."""

    settings: Settings
    components: tuple[Resource, ...]
    resources: tuple[Resource, ...]
    outputs: Mapping[str, Any]
    secret_outputs: frozenset[str]

    def of_type(self, arm: str) -> tuple[Resource, ...]:
        return tuple(resource for resource in self.resources if resource.type == arm)

    def only(self, arm: str) -> Resource:
        """The single resource of a type; raises ValueError if there is none or more than one."""
        (found,) = self.of_type(arm)
        return found

    def component_of(self, resource: Resource) -> str:
        """Name of the component that makes a resource, or PROGRAM."""
        return next((each.name for each in self.components if each.urn == resource.parent), PROGRAM)

    def by_id(self, resource_id: str) -> Resource:
        """The resource behind an ARM id; raises KeyError if the stack makes none."""
        for resource in self.resources:
            if resource.id.lower() == resource_id.lower():
                return resource
        raise KeyError(resource_id)


def record_stack(stack: str) -> Recording:
    """Records one of STACKS, as its file and the example tenant configure it."""
    return record(read_settings(stack_from_files(stack)))


def record(settings: Settings) -> Recording:
    """Records every resource that the stack of these settings would make."""
    with contextlib.closing(asyncio.new_event_loop()) as worker_loop, _without_collector():
        # Pulumi keeps its engine and root in context variables; a copy does not change the caller's.
        context = contextvars.copy_context()
        monitor = context.run(lambda: asyncio.run(_run(settings, worker_loop)))
    components = tuple(resource for resource in monitor.recorded if resource.is_component)
    resources = tuple(resource for resource in monitor.recorded if not resource.is_component)
    return Recording(settings, components, resources, monitor.outputs, frozenset(monitor.secret_outputs))


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Turns the collector off: it would take half the time, and Pulumi's many tasks leave no garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


async def _run(settings: Settings, worker_loop: asyncio.AbstractEventLoop) -> "_RecordingMonitor":
    def program() -> None:
        for name, value in build(settings, TODAY).items():
            pulumi.export(name, value)

    # The mock engine makes an event loop in each worker thread that has none, and leaves it open. A single
    # thread with a loop of our own leaks nothing.
    asyncio.get_running_loop().set_default_executor(
        ThreadPoolExecutor(max_workers=1, initializer=asyncio.set_event_loop, initargs=(worker_loop,))
    )
    monitor = _RecordingMonitor()
    mocks.set_mocks(monitor.mocks, project=PROJECT, stack=settings.stack, preview=False, monitor=monitor)
    # set_mocks has made a root; run_in_stack makes another one, which also registers the outputs.
    set_root_resource(cast("pulumi.Resource", None))
    await run_in_stack(program)
    return monitor


class _RecordingMonitor(mocks.MockMonitor):
    """A mock of Pulumi's engine that also keeps options, parents and secrets, which mocks do not get."""

    def __init__(self) -> None:
        super().__init__(_Azure())
        self.recorded: list[Resource] = []
        self.outputs: dict[str, Any] = {}
        self.secret_outputs: list[str] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != _STACK:
            inputs, secrets = _laid_open(json_format.MessageToDict(request.object))
            self.recorded.append(
                Resource(
                    urn=response.urn,
                    token=request.type,
                    name=request.name,
                    inputs=inputs,
                    secrets=frozenset(secrets),
                    id=response.id,
                    parent=request.parent,
                    depends_on=frozenset(request.dependencies),
                    protect=request.protect,
                    retain_on_delete=request.retainOnDelete,
                    deleted_with=request.deletedWith,
                    ignore_changes=tuple(request.ignoreChanges),
                    depends_through={
                        name: frozenset(sources.urns)
                        for name, sources in request.propertyDependencies.items()
                    },
                )
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        if f"::{_STACK}::" in request.urn:
            outputs, secrets = _laid_open(json_format.MessageToDict(request.outputs))
            self.outputs |= outputs
            self.secret_outputs += secrets
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _laid_open(value: Any, path: str = "") -> tuple[Any, list[str]]:
    """A decoded property without its secret wrappers, and their paths; whole numbers become int."""
    secrets: list[str] = []
    if isinstance(value, dict):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            inner, _ = _laid_open(value["value"], path)
            return inner, [path]
        if rpc._special_sig_key in value:
            return value.get("urn", value), []
        opened = {}
        for key, item in value.items():
            opened[key], inside = _laid_open(item, f"{path}.{key}" if path else key)
            secrets += inside
        return opened, secrets
    if isinstance(value, list):
        items = []
        for index, item in enumerate(value):
            inner, inside = _laid_open(item, f"{path}[{index}]")
            items.append(inner)
            secrets += inside
        return items, secrets
    if isinstance(value, float) and value.is_integer():
        return int(value), secrets
    return value, secrets


class _Azure(mocks.Mocks):
    """Answers in place of Azure, with ids derived from names, and values that are the same on every run."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        inputs = {key: _unwrapped(value) for key, value in args.inputs.items()}
        if not args.typ.startswith("azure-native:"):
            return "", inputs
        kind = arm_type(args.typ, inputs)
        if kind.type == "Microsoft.Authorization/roleAssignments":
            inputs.setdefault("roleAssignmentName", guid(args.name))
        resource_id = kind.resource_id(inputs)
        name = kind.name_parts(inputs)[-1]
        return resource_id, {**inputs, **computed_outputs(kind.type, resource_id, name, inputs), "name": name}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        if args.token == "azure-native:authorization:getClientConfig":  # noqa: S105 - a function's name
            client = {"clientId": guid("client"), "objectId": guid("object")}
            return {**client, "subscriptionId": SUBSCRIPTION, "tenantId": TENANT}, []
        if args.token == "azure-native:logic:listWorkflowTriggerCallbackUrl":  # noqa: S105 - as above
            return {"value": callback_url(args.args)}, []
        raise LookupError(f"the program calls {args.token}: add an answer to infra/offline/recording.py")


def _unwrapped(value: Any) -> Any:
    return rpc.unwrap_rpc_secret(value) if rpc.is_rpc_secret(value) else value
