"""Each kind of setting: what is accepted, at its ends too, and how a problem is worded."""

import pytest

from shared.errors import ConfigurationError
from shared.settings_reader import SettingsReader


class SpecialError(ConfigurationError): ...


def test_nothing_is_raised_without_a_problem() -> None:
    SettingsReader({}).check()


def test_check_raises_every_problem_in_order_as_the_error_that_is_asked_for() -> None:
    reader = SettingsReader({"B": "x"})
    reader.text("A")
    reader.integer("B", 1, 1, 9)
    reader.report("C is odd")
    with pytest.raises(SpecialError) as caught:
        reader.check(SpecialError)
    assert caught.value.detail == "A is not set; B must be a whole number from 1 to 9; C is odd"


def test_text_is_stripped_and_blank_means_not_set() -> None:
    reader = SettingsReader({"A": "  x ", "B": "  "})
    assert (reader.text("A"), reader.text("B", "default"), reader.optional("B")) == ("x", "default", "")
    assert reader.text("B") == ""
    assert reader.problems == ["B is not set"]


def test_an_unresolved_reference_is_never_taken_for_a_value() -> None:
    reader = SettingsReader({"A": "@Microsoft.KeyVault(VaultName=v;SecretName=s)"})
    assert reader.text("A") == ""
    assert reader.problems == [
        "A is a Key Vault reference that the platform has not resolved: check the app's access to the vault, "
        "then restart the app"
    ]


@pytest.mark.parametrize("value", [3, 4, 12])
def test_whole_numbers_in_the_range(value: int) -> None:
    reader = SettingsReader({"A": str(value)})
    assert reader.integer("A", 5, 3, 12) == value
    reader.check()


@pytest.mark.parametrize(
    "value", ["2", "13", "-4", "4.0", "four", "\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT FOUR}"]
)
def test_other_whole_numbers_are_refused(value: str) -> None:
    reader = SettingsReader({"A": value})
    assert reader.integer("A", 5, 3, 12) == 5
    assert reader.problems == ["A must be a whole number from 3 to 12"]


@pytest.mark.parametrize(("value", "share"), [("0", 0), ("1", 1), ("1.0", 1), (".5", 0.5), ("", 0.25)])
def test_shares(value: str, share: float) -> None:
    reader = SettingsReader({"A": value})
    assert reader.share("A", 0.25) == share
    reader.check()


@pytest.mark.parametrize("value", ["1.1", "-0.1", "nan", "half"])
def test_other_shares_are_refused(value: str) -> None:
    reader = SettingsReader({"A": value})
    assert reader.share("A", 0.25) == 0.25
    assert reader.problems == ["A must be a share from 0 to 1, such as 0.25"]


def test_a_choice_is_one_of_those_allowed() -> None:
    reader = SettingsReader({"A": "b", "B": "c"})
    assert reader.choice("A", "a", ("a", "b")) == "b"
    assert reader.choice("NOT_SET", "a", ("a", "b")) == "a"
    reader.check()
    assert reader.choice("B", "a", ("a", "b")) == "a"
    assert reader.problems == ["B must be one of a, b"]


@pytest.mark.parametrize("value", ["https://x.example", "https://x.example:8443/path"])
def test_addresses(value: str) -> None:
    reader = SettingsReader({"A": value})
    assert reader.address("A", "https") == value
    reader.check()


@pytest.mark.parametrize("value", ["http://x.example", "https://", "https://me@x.example", "https://x:port"])
def test_other_addresses_are_refused(value: str) -> None:
    reader = SettingsReader({"A": value})
    reader.address("A", "https")
    assert reader.problems == ["A must be https://<host>... without a user or a password"]


def test_a_uuid_comes_in_lower_case() -> None:
    reader = SettingsReader({"A": "01234567-89AB-cdef-0123-456789abcdef", "B": "0123"})
    assert reader.uuid("A") == "01234567-89ab-cdef-0123-456789abcdef"
    reader.check()
    reader.uuid("B")
    assert reader.problems == ["B must be a UUID"]


def test_settings_that_do_not_belong_are_refused_if_they_are_set() -> None:
    reader = SettingsReader({"A": "x", "B": " ", "C": "y"})
    reader.refuse("needs D", "A", "B", "C")
    assert reader.problems == ["A needs D", "C needs D"]
