"""Where resources of a stack go, and what each of them carries."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from infra.naming import Names


@dataclass(frozen=True, slots=True)
class Placement:
    """Resource group, region, tags and names; every component gets one."""

    resource_group_name: pulumi.Output[str]
    location: str
    tags: Mapping[str, str]
    names: Names


def kept(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    """For what holds data: Pulumi refuses to delete it, and leaves it in Azure where its code is gone."""
    return pulumi.ResourceOptions(parent=parent, protect=True, retain_on_delete=True)


def under(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(parent=parent)
