"""Holds the resource group, region, tags and names that every component gets."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from infra.naming import Names


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a component makes its resources, and how it names and tags them."""

    resource_group_name: pulumi.Output[str]
    location: str
    tags: Mapping[str, str]
    names: Names


def kept(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    """Options of a resource with data: Pulumi refuses to delete it, and keeps it if its code is removed."""
    return pulumi.ResourceOptions(parent=parent, protect=True, retain_on_delete=True)


def under(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(parent=parent)
