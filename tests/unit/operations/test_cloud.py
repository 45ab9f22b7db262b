"""The tools of a deployment: JSON, patience with a busy service, rights that are not spread yet, dry runs."""

from collections.abc import Callable

import pytest

from operations.cloud import BUSY_FOR_S, Cloud, ToolFailed, placeholder
from operations.process import Answer, Call
from shared.errors import ConfigurationError
from tests.support.stand_in.world import NO_BLOBS, NO_SECRETS

BUSY = Answer(1, error="ERROR: (ServerIsBusy) Cannot complete operation while server is busy.")
DENIED = Answer(1, error=f"ERROR: {NO_SECRETS}")
LOST = Answer(1, error="ERROR: Connection aborted.")
MISSING = Answer(3, error="ERROR: (ResourceNotFound) The Resource was not found.")


class Azure:
    """Answers in turn, and the last one for ever; its clock runs while a command pauses."""

    def __init__(self, *answers: Answer) -> None:
        self.calls: list[Call] = []
        self.said: list[str] = []
        self.time = 0.0
        self._answers = list(answers)

    def answer(self, call: Call) -> Answer:
        self.calls.append(call)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def pause(self, seconds: float) -> None:
        self.time += seconds

    def cloud(self, *, dry_run: bool = False, has_tool: Callable[[str], object] = lambda _: True) -> Cloud:
        return Cloud(
            self.answer, dry_run=dry_run, say=self.said.append, pause=self.pause, now=lambda: self.time,
            has_tool=has_tool,
        )  # fmt: skip


def test_az_is_asked_for_json_and_nothing_else() -> None:
    azure = Azure(Answer(0, '{"id": "x"}'))
    assert azure.cloud().read("az", "account", "show") == {"id": "x"}
    assert azure.calls[0].words == ("az", "account", "show", "--output", "json", "--only-show-errors")


def test_other_tools_get_the_words_as_they_are() -> None:
    azure = Azure(Answer(0, "[]"))
    assert azure.cloud().read("gh", "api", "user") == []
    assert azure.calls[0].words == ("gh", "api", "user")


def test_no_output_is_none_and_text_that_is_no_json_is_refused_without_showing_it() -> None:
    assert Azure(Answer(0, "\n")).cloud().read("az", "x") is None
    with pytest.raises(ConfigurationError, match="printed 9 characters that are not JSON") as raised:
        Azure(Answer(0, "my secret")).cloud().read("az", "x")
    assert "secret" not in str(raised.value) + raised.value.internal


def test_a_busy_service_is_waited_for() -> None:
    azure = Azure(BUSY, BUSY, Answer(0, "1"))
    assert azure.cloud().change("az", "postgres") == 1
    assert azure.time == 5 + 10
    assert azure.said == ["  the service is busy: again in 5 s", "  the service is busy: again in 10 s"]


def test_a_service_that_stays_busy_is_given_up_at_last() -> None:
    azure = Azure(BUSY)
    with pytest.raises(ToolFailed, match=r"az postgres .* ended with status 1"):
        azure.cloud().change("az", "postgres")
    assert BUSY_FOR_S <= azure.time <= BUSY_FOR_S + 60


def test_a_change_whose_end_is_unknown_is_not_repeated() -> None:
    azure = Azure(LOST, Answer(0))
    with pytest.raises(ToolFailed) as raised:
        azure.cloud().change("az", "ad", "group", "create")
    assert "Connection aborted" in raised.value.internal
    assert len(azure.calls) == 1


def test_a_missing_right_is_final_unless_a_role_was_just_assigned() -> None:
    azure = Azure(DENIED, Answer(0))
    with pytest.raises(ToolFailed) as raised:
        azure.cloud().change("az", "keyvault", "key", "create")
    assert raised.value.is_denied
    azure = Azure(DENIED, DENIED, Answer(0, "2"))
    assert azure.cloud().change("az", "keyvault", "key", "create", until_allowed_s=600) == 2
    azure = Azure(DENIED)
    with pytest.raises(ToolFailed):
        azure.cloud().perform("az", "keyvault", "key", "create", until_allowed_s=600)
    assert 600 <= azure.time <= 660


@pytest.mark.parametrize("text", [NO_BLOBS, NO_SECRETS, "RESPONSE 403 AuthorizationPermissionMismatch"])
def test_without_a_right_nothing_is_taken_as_missing(text: str) -> None:
    """A key vault says `Assignment: (not found)`, and a second key would be made."""
    for status in (1, 3):
        with pytest.raises(ToolFailed) as raised:
            Azure(Answer(status, error=f"ERROR: {text}")).cloud().find("az", "keyvault", "key", "show")
        assert raised.value.is_denied


@pytest.mark.parametrize(
    "text",
    [
        "When using this permission, the backing application of the service principal being created must in "
        "the local tenant",
        "Resource 'x' does not exist or one of its queried reference-property objects are not present.",
        "(PrincipalNotFound) Principal x does not exist in the directory y.",
    ],
)
def test_a_new_principal_is_waited_for_like_a_right(text: str) -> None:
    azure = Azure(Answer(1, error=f"ERROR: {text}"), Answer(0, "3"))
    assert azure.cloud().change("az", "ad", "sp", "create", until_allowed_s=600) == 3
    with pytest.raises(ToolFailed):
        Azure(Answer(1, error=f"ERROR: {text}"), Answer(0)).cloud().change("az", "ad", "sp", "create")


@pytest.mark.parametrize("text", ["getaddrinfo ENOTFOUND vault.azure.net", "Connection refused", "HTTP 401"])
def test_a_failed_connection_is_not_taken_as_missing(text: str) -> None:
    with pytest.raises(ToolFailed):
        Azure(Answer(1, error=text)).cloud().find("az", "group", "show")


@pytest.mark.parametrize(
    "text",
    [
        "(ResourceGroupNotFound) Resource group 'x' could not be found.",
        "(SecretNotFound) A secret with (name/id) x was not found in this key vault.",
        "No group matches the name of 'x'",
        "Service principal 'x' doesn't exist",
        "gh: Not Found (HTTP 404)",
        "error: no stack named 'x' found",
    ],
)
def test_each_tool_says_in_its_way_that_something_is_missing(text: str) -> None:
    assert Azure(Answer(1, error=text)).cloud().find("tool", "show") is None


def test_what_does_not_exist_is_none_and_another_failure_is_not() -> None:
    assert Azure(MISSING).cloud().find("az", "group", "show") is None
    with pytest.raises(ToolFailed):
        Azure(DENIED).cloud().find("az", "group", "show")


def test_a_failure_shows_no_input() -> None:
    azure = Azure(Answer(1, error="refused"))
    with pytest.raises(ToolFailed) as raised:
        azure.cloud().perform("pulumi", "config", "set", stdin="pepper", environment={"KEY": "pepper"})
    assert "pepper" not in str(raised.value) + raised.value.internal


def test_a_dry_run_prints_changes_and_makes_none() -> None:
    azure = Azure(Answer(0, "{}"))
    cloud = azure.cloud(dry_run=True)
    assert cloud.change("az", "group", "create", "--name", "a b", would_answer={"id": "x"}) == {"id": "x"}
    assert cloud.perform("pulumi", "config", "set", "--secret", "key", stdin="pepper") == ""
    assert azure.calls == []
    assert azure.said == [
        "  would run: az group create --name 'a b'",
        "  would run: pulumi config set --secret key   (and standard input)",
    ]


def test_a_dry_run_reads_what_exists_but_not_what_a_change_would_have_made() -> None:
    azure = Azure(Answer(0, "{}"))
    cloud = azure.cloud(dry_run=True)
    assert cloud.find("az", "group", "show") == {}
    assert cloud.find("az", "ad", "sp", "show", "--id", placeholder("application id")) is None
    assert len(azure.calls) == 1


def test_a_dry_run_needs_no_tool() -> None:
    azure = Azure(Answer(0, "{}"))
    assert azure.cloud(dry_run=True, has_tool=lambda _: None).find("az", "group", "show") is None


def test_waiting_is_bounded() -> None:
    azure = Azure(Answer(0))
    answers = iter([False, False, True])
    azure.cloud().await_until(lambda: next(answers), "it is so", at_most_s=60)
    assert azure.time == 15
    with pytest.raises(ConfigurationError, match="waited 60 s"):
        azure.cloud().await_until(lambda: False, "it is so", at_most_s=60)
