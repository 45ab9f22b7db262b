"""The tree of errors: one class for each cause, and a drawing that shows all of them."""

import inspect
import re

import pytest

from shared import errors
from shared.errors import (
    FieldCode,
    FieldError,
    KeyMissing,
    MethodNotAllowed,
    RateLimited,
    SignalCloudError,
    ValidationFailed,
)

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SignalCloudError)
}


def drawn() -> dict[str, tuple[str | None, str]]:
    """The class names of the drawing, each with its parent and with what is said of it."""
    found: dict[str, tuple[str | None, str]] = {}
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"    ((?:\|   )*)(?:\|-- )?([A-Z]\w+) *(.*)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + (1 if "|--" in line else 0)
        del parents[depth:]
        found[match[2]] = (parents[-1] if parents else None, match[3])
        parents.append(match[2])
    return found


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    assert {name: parent for name, (parent, _) in drawn().items()} == {
        name: None if kind is SignalCloudError else kind.__bases__[0].__name__
        for name, kind in CLASSES.items()
    }


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_drawing_says_each_code(name: str) -> None:
    kind = CLASSES[name]
    if "code" in vars(kind):
        assert re.match(rf"{kind.code}\b", drawn()[name][1])


def test_no_two_causes_share_a_code() -> None:
    codes = [kind.code for kind in CLASSES.values() if "code" in vars(kind)]
    assert len(set(codes)) == len(codes)


def test_an_error_carries_what_it_was_given() -> None:
    found = FieldError("rsi", "missing", "Expected an RSI.")
    error = SignalCloudError("Told.", internal="logged", errors=(found,), retry_after_s=1.5)
    assert (str(error), error.detail, error.internal) == ("Told.", "Told.", "logged")
    assert (error.errors, error.retry_after_s) == ((found,), 1.5)
    plain = SignalCloudError("Told.")
    assert (plain.internal, plain.errors, plain.retry_after_s) == ("", (), None)


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ((), "validation_failed"),
        (("missing",), "validation_failed"),
        (("unknown_field",), "unknown_field"),
        (("unknown_field", "unknown_field"), "unknown_field"),
        (("unknown_field", "missing"), "validation_failed"),
    ],
)
def test_only_unknown_fields_have_a_code_of_their_own(codes: tuple[FieldCode, ...], code: str) -> None:
    error = ValidationFailed(tuple(FieldError("x", each, "") for each in codes))
    assert error.code == code
    assert ValidationFailed.code == "validation_failed"
    assert error.detail == "The request has fields that cannot be accepted; see errors."
    assert ValidationFailed((), "Said.", internal="logged").internal == "logged"


def test_some_errors_carry_more() -> None:
    assert MethodNotAllowed("Use GET.", allow=("GET",)).allow == ("GET",)
    assert RateLimited("Later.", retry_after_s=7.5).retry_after_s == 7.5
    assert KeyMissing("Who?").quota is None
