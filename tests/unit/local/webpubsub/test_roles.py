"""Roles, wildcards and the permissions that override them."""

import pytest

from local.webpubsub.roles import Permission, Permissions

JOIN, SEND = Permission.JOIN_LEAVE_GROUP, Permission.SEND_TO_GROUP


@pytest.mark.parametrize(
    ("role", "group", "allowed"),
    [
        ("webpubsub.joinLeaveGroup", "anything", True),
        ("webpubsub.joinLeaveGroup.g", "g", True),
        ("webpubsub.joinLeaveGroup.g", "h", False),
        ("webpubsub.joinLeaveGroup.symbol.*", "symbol.ES", False),
        ("webpubsub.joinLeaveGroup.symbol.*", "symbol.*", True),
        ("webpubsub.joinLeaveGroups.symbol.*", "symbol.ES", True),
        ("webpubsub.joinLeaveGroups.symbol.*", "symbol.", True),
        ("webpubsub.joinLeaveGroups.symbol.*", "symbol.ES.x", False),
        ("webpubsub.joinLeaveGroups.symbol.**", "symbol.ES.x", True),
        ("webpubsub.joinLeaveGroups.symbol.?S", "symbol.ES", True),
        ("webpubsub.joinLeaveGroups.symbol.?S", "symbol..S", False),
        ("webpubsub.joinLeaveGroups.a+b", "a+b", True),
        ("webpubsub.joinLeaveGroups.a+b", "aab", False),
        ("webpubsub.joinLeaveGroups", "g", False),
        ("webpubsub.sendToGroup", "g", False),
        ("joinLeaveGroup", "g", False),
        ("", "g", False),
    ],
)
def test_roles(role: str, group: str, allowed: bool) -> None:
    assert Permissions([role]).allows(JOIN, group) is allowed


def test_permissions_are_apart() -> None:
    permissions = Permissions(["webpubsub.sendToGroup", "webpubsub.joinLeaveGroup.g"])
    assert permissions.allows_every_group(SEND)
    assert not permissions.allows_every_group(JOIN)
    assert not permissions.allows(JOIN, "h")


def test_what_came_later_for_one_group_overrides_what_holds_for_all() -> None:
    permissions = Permissions(["webpubsub.joinLeaveGroup"])
    permissions.override(JOIN, "g", allowed=False)
    assert not permissions.allows(JOIN, "g")
    assert permissions.allows(JOIN, "h")
    permissions.override(JOIN, None, allowed=False)
    assert not permissions.allows(JOIN, "h")
    permissions.override(JOIN, "h", allowed=True)
    assert permissions.allows(JOIN, "h")
    assert not permissions.allows(JOIN, "g")
    permissions.override(JOIN, None, allowed=True)
    assert permissions.allows(JOIN, "g")
    assert not permissions.allows(SEND, "g")
