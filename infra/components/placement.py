"""Holds the resource group, region, tags and names that every component gets."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from infra.naming import Names


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a component makes its resources, how it names and tags them, and whether it protects data."""

    resource_group_name: pulumi.Output[str]
    location: str
    tags: Mapping[str, str]
    names: Names
    protect: bool

    def kept(self, parent: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a resource with data: Pulumi refuses to delete it, and keeps it if its code is removed.

        Not in a stack without protection, which is made and destroyed as a whole.
        """
        return pulumi.ResourceOptions(parent=parent, protect=self.protect, retain_on_delete=self.protect)


class Turns:
    """Makes resources one after another: each depends on the one before.

    Azure refuses a second change of some services while the first one runs, for example with ServerIsBusy,
    and Pulumi's provider does not try such a change again.
    """

    def __init__(self, first: pulumi.Resource) -> None:
        self.latest = first

    def options(self, options: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
        """Options of the next resource."""
        return pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[self.latest]))

    def take[R: pulumi.Resource](self, resource: R) -> R:
        """Makes the next resource wait for this one."""
        self.latest = resource
        return resource


def under(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(parent=parent)
