"""The groups that a client access URL puts its connection into."""

import pytest

from shared.domain.access.client_access import (
    ClientAccessToken,
    group_of_session,
    group_of_subject,
    token_in,
)

TOKEN = ClientAccessToken("lic_Ab0000000000", "Ab12Cd", "n0nce")


def test_the_groups_name_the_license_the_key_and_the_url() -> None:
    assert TOKEN.groups == ("license.lic_Ab0000000000", "key.Ab12Cd", "once.n0nce")
    assert token_in(TOKEN.groups) == TOKEN
    assert token_in(["symbol.ES", *reversed(TOKEN.groups)]) == TOKEN


@pytest.mark.parametrize(
    "groups",
    [
        [],
        TOKEN.groups[:2],
        TOKEN.groups[1:],
        (*TOKEN.groups, "key.Zz12Cd"),
        (*TOKEN.groups, "license.lic_Zz0000000000"),
        (*TOKEN.groups, "once.another"),
        (*TOKEN.groups, "session.ses_1", "session.ses_2"),
        ("license.", "symbol.ES", "key"),
    ],
)
def test_other_groups_are_not_one_of_our_urls(groups: list[str]) -> None:
    assert token_in(groups) is None


def test_a_url_of_a_session_has_its_group_too() -> None:
    token = ClientAccessToken("lic_Ab0000000000", "Ab12Cd", "n0nce", "ses_1")
    assert token.groups == (*TOKEN.groups, group_of_session("ses_1"))
    assert token_in(token.groups) == token


def test_a_subject_is_closed_by_its_own_group() -> None:
    assert group_of_subject(TOKEN.license_id) == TOKEN.groups[0]
    assert group_of_subject(TOKEN.public_id) == TOKEN.groups[1]
