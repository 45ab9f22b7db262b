"""How a command ends: its status, and what it prints about a failure."""

import pytest

from operations.command import UsageError, run_command
from shared.errors import DatabaseUnavailable, FieldError, SignalCloudError, ValidationFailed


async def returns(status: int) -> int:
    return status


async def fails(error: Exception) -> int:
    raise error


@pytest.mark.parametrize("status", [0, 1, 7])
def test_a_command_has_its_own_status(status: int) -> None:
    assert run_command(returns(status)) == status


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UsageError("X is not set"), 2, "configuration_invalid: X is not set\n"),
        (
            DatabaseUnavailable("No database.", internal="refused"),
            1,
            "database_unavailable: No database.\n  refused\n",
        ),
        (
            ValidationFailed((FieldError("plan", "out_of_range", "plan is too long"),), "Refused."),
            1,
            "validation_failed: Refused.\n  plan: plan is too long\n",
        ),
    ],
)
def test_a_failure_is_printed_and_has_a_status(
    error: SignalCloudError, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(fails(error)) == status
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", text)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(fails(ZeroDivisionError()))
