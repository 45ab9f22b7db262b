"""Runs the policies for `pulumi preview --policy-pack infra/policies`."""

import sys
from collections.abc import Iterable
from pathlib import Path

# Pulumi runs this folder; the package `infra` is found from two folders above.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyPack,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

from infra.policies.rules import RULES, STACK_RULES, Rule, StackRule, Subject

_PROVIDER = "azure-native:"


def _stack_of(urn: str) -> str:
    """The stack of a URN, `urn:pulumi:STACK::project::...`."""
    return urn.split("::", 1)[0].rsplit(":", 1)[-1]


def _from_arguments(arguments: ResourceValidationArgs) -> Subject:
    return Subject(
        stack=_stack_of(arguments.urn),
        token=arguments.resource_type.removeprefix(_PROVIDER),
        name=arguments.name,
        urn=arguments.urn,
        inputs=arguments.props,
        protect=arguments.opts.protect,
        depends_through={},
    )


def _from_resources(resources: Iterable[PolicyResource]) -> Iterable[Subject]:
    for resource in resources:
        through = {
            name: frozenset(source.urn for source in sources)
            for name, sources in resource.property_dependencies.items()
        }
        yield Subject(
            stack=_stack_of(resource.urn),
            token=resource.resource_type.removeprefix(_PROVIDER),
            name=resource.name,
            urn=resource.urn,
            inputs=resource.props,
            protect=resource.opts.protect,
            depends_through=through,
        )


def _resource_policy(name: str, rule: Rule) -> Policy:
    def validate(arguments: ResourceValidationArgs, report: ReportViolation) -> None:
        if arguments.resource_type.startswith(_PROVIDER):
            for violation in rule(_from_arguments(arguments)):
                report(violation)

    return ResourceValidationPolicy(name=name, description=_first_line(rule), validate=validate)


def _stack_policy(name: str, rule: StackRule) -> Policy:
    def validate(arguments: StackValidationArgs, report: ReportViolation) -> None:
        for urn, violation in rule(_from_resources(arguments.resources)):
            report(violation, urn)

    return StackValidationPolicy(name=name, description=_first_line(rule), validate=validate)


def _first_line(rule: Rule | StackRule) -> str:
    return (rule.__doc__ or "").splitlines()[0]


PolicyPack(
    name="signal-cloud",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[
        *(_resource_policy(name, rule) for name, rule in RULES.items()),
        *(_stack_policy(name, rule) for name, rule in STACK_RULES.items()),
    ],
)
